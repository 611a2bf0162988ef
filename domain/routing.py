"""Which model is asked next: a pure choice over recorded facts, made in the workflow, so that a history says why.

A local activity collects the facts once a call (`slm.plan`); what failed since is added by the workflow.
"""

from __future__ import annotations

from enum import StrEnum

from domain.base import Contract, Count
from domain.errors import (
    DependencyUnavailable,
    ModelBadRequest,
    ModelBlocked,
    ModelContentFiltered,
    ModelContextExceeded,
    ModelKeyRefused,
    ModelOverloaded,
    ModelRateLimited,
    ModelRefused,
    ModelStreamBroken,
    ModelTimedOut,
    ModelUnavailable,
    PriceUnknown,
    StoppedByKillSwitch,
    UnsupportedByModel,
)
from domain.models import Candidate


class Unfit(StrEnum):
    """Why a configured model is no candidate for a call."""

    CAPABILITY = "capability"
    RESIDENCY = "residency"
    PRICE = "price"
    CONTEXT = "context"


class RoutedModel(Contract):
    """A model of the role and what is known about it now. `unfit` rules it out; an open breaker only puts it last."""

    candidate: Candidate
    unfit: Unfit | None = None
    open: bool = False
    context_tokens: Count | None = None
    fallback: bool = False
    """The embedded model, which answers when nothing else does."""


class Route(Contract):
    """The models of a call in order of preference, and what its schedule needs."""

    models: tuple[RoutedModel, ...]
    forecast_tokens: Count
    fairness_weight: float
    input_tokens: Count
    timeout_seconds: float = 60.0


class Reaction(StrEnum):
    """What an error of a model call leads to, once the activity's own retries are used up."""

    FALL_BACK = "fall_back"
    STOP = "stop"


_REACTIONS: dict[str, Reaction] = {
    ModelRateLimited.type: Reaction.FALL_BACK,
    ModelOverloaded.type: Reaction.FALL_BACK,
    ModelTimedOut.type: Reaction.FALL_BACK,
    ModelStreamBroken.type: Reaction.FALL_BACK,
    ModelUnavailable.type: Reaction.FALL_BACK,
    ModelKeyRefused.type: Reaction.FALL_BACK,
    ModelRefused.type: Reaction.FALL_BACK,
    ModelContextExceeded.type: Reaction.FALL_BACK,
    ModelBlocked.type: Reaction.FALL_BACK,
    PriceUnknown.type: Reaction.FALL_BACK,
    UnsupportedByModel.type: Reaction.FALL_BACK,
    # A switch may mean one provider alone; one that means more stops the next one as well.
    StoppedByKillSwitch.type: Reaction.FALL_BACK,
    ModelBadRequest.type: Reaction.STOP,
    ModelContentFiltered.type: Reaction.STOP,
    DependencyUnavailable.type: Reaction.STOP,
}
"""A malformed request is malformed everywhere, and what one vendor's filter withholds is not tried on another. A setting that
one model does not know, such as a temperature, another may."""


def reaction(error_type: str) -> Reaction:
    """What to do after this error; an unknown one stops."""
    return _REACTIONS.get(error_type, Reaction.STOP)


class Failure(Contract):
    """A candidate that was asked and failed."""

    candidate: Candidate
    error_type: str


def choose(route: Route, failures: tuple[Failure, ...]) -> RoutedModel | None:
    """The next model to ask, or None when none is left.

    Fit models in order, those with a closed breaker first; after one whose context was too short only larger ones.
    """
    if failures and reaction(failures[-1].error_type) is Reaction.STOP:
        return None
    tried = {str(failure.candidate) for failure in failures}
    small = {str(failure.candidate) for failure in failures if failure.error_type == ModelContextExceeded.type}
    exceeded = max((model.context_tokens or 0 for model in route.models if str(model.candidate) in small), default=0)
    fit = [
        model
        for model in route.models
        if model.unfit is None
        and str(model.candidate) not in tried
        and (not small or model.context_tokens is None or model.context_tokens > exceeded)
    ]
    return next((model for model in fit if not model.open), fit[0] if fit else None)
