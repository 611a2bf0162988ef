"""Which of a role's models can do what a call needs: asked at the edge, so that what none can do costs nothing, and again
when the call is planned."""

from __future__ import annotations

from dataclasses import dataclass

from domain.catalogue import EMBEDDED_PROVIDER, Catalogue, ModelConfig, RoleConfig
from domain.errors import UnsupportedByModel
from domain.models import Candidate, Capability
from domain.ports.models import Prices
from domain.prices import Price
from domain.routing import RoutedModel, Unfit


@dataclass(frozen=True)
class Wanted:
    """What a call needs of its model: capabilities, and room for so many input tokens."""

    needs: frozenset[Capability]
    input_tokens: int


def profile(catalogue: Catalogue, role: str, model: Candidate | None, tenant_id: str, mode: str) -> RoleConfig:
    """The role's profile, or that of the one model that is pinned. Raises UnknownModel."""
    config = catalogue.role(role, tenant_id, mode)
    if model is None:
        return config
    return config.model_copy(update={"models": (str(catalogue.model(str(model)).candidate),)})


def judged(catalogue: Catalogue, config: RoleConfig, prices: Prices, wanted: Wanted) -> tuple[RoutedModel, ...]:
    """The profile's models in its order, each with the first reason that rules it out."""
    return tuple(_judge(catalogue, config, prices, wanted, catalogue.model(name)) for name in config.models)


def require_fit(models: tuple[RoutedModel, ...], wanted: Wanted) -> None:
    """Raises UnsupportedByModel when every model is ruled out; names what is missing."""
    if any(model.unfit is None for model in models):
        return
    reasons = sorted({model.unfit.value for model in models if model.unfit is not None})
    needs = ", ".join(sorted(wanted.needs)) or "nothing special"
    raise UnsupportedByModel(
        f"No model of this role fits ({', '.join(reasons)}); the request needs: {needs}. Ask another role or model.",
        reasons=reasons,
        needs=sorted(wanted.needs),
    )


def _judge(catalogue: Catalogue, config: RoleConfig, prices: Prices, wanted: Wanted, model: ModelConfig) -> RoutedModel:
    return RoutedModel(
        candidate=model.candidate,
        unfit=_unfit(catalogue, config, prices, wanted, model),
        context_tokens=model.context_tokens,
        fallback=model.provider == EMBEDDED_PROVIDER,
    )


def _unfit(catalogue: Catalogue, config: RoleConfig, prices: Prices, wanted: Wanted, model: ModelConfig) -> Unfit | None:
    if wanted.needs - model.capabilities:
        return Unfit.CAPABILITY
    region = catalogue.providers[model.provider].region
    if config.residency and model.provider != EMBEDDED_PROVIDER and region not in config.residency:
        return Unfit.RESIDENCY
    if config.max_price is not None:
        priced = prices.find(model.candidate, wanted.input_tokens)
        if priced is None or _dearer(priced.price, config.max_price):
            return Unfit.PRICE
    if model.context_tokens is not None and wanted.input_tokens > model.context_tokens:
        return Unfit.CONTEXT
    return None


def _dearer(price: Price, most: Price) -> bool:
    """A price in another currency cannot be compared, so it is."""
    if price.currency != most.currency:
        return True
    return price.input_micros > most.input_micros or price.output_micros > most.output_micros
