"""Which model is asked, and which next: the pure choice."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import (
    ERRORS,
    ModelBadRequest,
    ModelContentFiltered,
    ModelContextExceeded,
    ModelKeyRefused,
    ModelOverloaded,
    ModelRateLimited,
    ModelStreamBroken,
    ModelTimedOut,
    UnsupportedByModel,
)
from domain.models import Candidate
from domain.routing import Failure, Reaction, Route, RoutedModel, Unfit, choose, reaction


def model(name: str, **changes: object) -> RoutedModel:
    return RoutedModel.model_validate({"candidate": Candidate(provider="p", model=name), **changes})


def route(*models: RoutedModel) -> Route:
    return Route(models=models, forecast_tokens=1, fairness_weight=1.0, input_tokens=1)


def failed(name: str, kind: str) -> Failure:
    return Failure(candidate=Candidate(provider="p", model=name), error_type=kind)


def name(chosen: RoutedModel | None) -> str | None:
    return chosen.candidate.model if chosen else None


def test_the_first_fit_model_is_asked_and_an_open_breaker_puts_it_last() -> None:
    assert name(choose(route(model("a"), model("b")), ())) == "a"
    assert name(choose(route(model("a", unfit=Unfit.PRICE), model("b")), ())) == "b"
    assert name(choose(route(model("a", open=True), model("b")), ())) == "b"
    assert name(choose(route(model("a", open=True)), ())) == "a"
    assert choose(route(model("a", unfit=Unfit.CONTEXT)), ()) is None


@pytest.mark.parametrize(
    "kind",
    [
        error.type
        for error in (
            ModelRateLimited,
            ModelOverloaded,
            ModelTimedOut,
            ModelStreamBroken,
            ModelKeyRefused,
            UnsupportedByModel,
        )
    ],
)
def test_another_model_is_asked_after_what_another_may_not_have(kind: str) -> None:
    both = route(model("a"), model("b"))
    assert name(choose(both, (failed("a", kind),))) == "b"
    assert choose(both, (failed("a", kind), failed("b", kind))) is None


@pytest.mark.parametrize("kind", [ModelBadRequest.type, ModelContentFiltered.type, "nobody-knows"])
def test_nobody_else_is_asked_after_what_is_the_same_everywhere(kind: str) -> None:
    assert choose(route(model("a"), model("b")), (failed("a", kind),)) is None


def test_after_a_short_context_only_larger_ones_are_asked() -> None:
    models = route(model("a", context_tokens=8_000), model("b", context_tokens=8_000), model("c", context_tokens=128_000))
    assert name(choose(models, (failed("a", ModelContextExceeded.type),))) == "c"
    assert (
        choose(
            route(model("a", context_tokens=8_000), model("b", context_tokens=4_000)), (failed("a", ModelContextExceeded.type),)
        )
        is None
    )


def test_every_reaction_is_to_an_error_of_the_tree() -> None:
    assert {kind for kind in ERRORS if reaction(kind) is Reaction.FALL_BACK} >= {"model-overloaded", "model-timed-out"}
    assert reaction("internal-error") is Reaction.STOP


@given(
    st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=6),
    st.sampled_from([kind for kind in ERRORS if reaction(kind) is Reaction.FALL_BACK]),
)
def test_each_fit_model_is_asked_once_and_no_other(kinds: list[tuple[bool, bool]], kind: str) -> None:
    models = route(*(model(str(at), unfit=Unfit.PRICE if unfit else None, open=shut) for at, (unfit, shut) in enumerate(kinds)))
    asked: list[Failure] = []
    while (chosen := choose(models, tuple(asked))) is not None:
        assert chosen.unfit is None
        asked.append(Failure(candidate=chosen.candidate, error_type=kind))
    names = [failure.candidate.model for failure in asked]
    assert len(names) == len(set(names))
    if kind != ModelContextExceeded.type:
        assert len(names) == sum(not unfit for unfit, _ in kinds)
