"""The models a caller may name, and what a name means. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from domain.base import Contract, Count
from domain.catalogue import Catalogue, ModelConfig
from domain.errors import UnknownModel
from domain.models import Capability

_OURS: Final = "somagent"


@dataclass(frozen=True)
class Named:
    """What a model's name stands for: a role alone, or a model that is pinned."""

    role: str
    model: str | None = None


class ListedModel(Contract):
    """A model, or a role that models answer for."""

    id: str
    object: Literal["model"] = "model"
    created: Count = 0
    """Nobody keeps when a model was configured."""
    owned_by: str
    capabilities: tuple[Capability, ...] = ()
    context_tokens: Count | None = None
    models: tuple[str, ...] = ()
    """Of a role: the models that answer for it, best first."""


class ModelList(Contract):
    """Every name that a request may send as `model`."""

    object: Literal["list"] = "list"
    data: tuple[ListedModel, ...]


def named(catalogue: Catalogue, tenant_id: str, mode: str, name: str, default_role: str) -> Named:
    """What a name stands for: `provider/model`, a role, or a model's name that only one provider has. Raises UnknownModel."""
    if name in _by_name(catalogue):
        return Named(role=default_role, model=name)
    if name in role_names(catalogue, tenant_id, mode):
        return Named(role=name)
    found = [str(model.candidate) for model in catalogue.models if model.name == name]
    if len(found) > 1:
        raise UnknownModel(f"Several providers have a model of that name; say which: {', '.join(found)}.")
    if not found:
        raise UnknownModel("No such model or role is configured; GET /v1/models lists what there is.")
    return Named(role=default_role, model=found[0])


def listed(catalogue: Catalogue, tenant_id: str, mode: str) -> ModelList:
    """Roles first, then models, each in the order of its name or of the configuration."""
    roles = tuple(_role(catalogue, tenant_id, mode, role) for role in role_names(catalogue, tenant_id, mode))
    return ModelList(data=(*roles, *map(_model, catalogue.models)))


def looked_up(catalogue: Catalogue, tenant_id: str, mode: str, name: str) -> ListedModel:
    """One of them, by any name a request may send. Raises UnknownModel."""
    meant = named(catalogue, tenant_id, mode, name, default_role="")
    if meant.model is None:
        return _role(catalogue, tenant_id, mode, meant.role)
    return _model(_by_name(catalogue)[meant.model])


def role_names(catalogue: Catalogue, tenant_id: str, mode: str) -> list[str]:
    """The roles of a tenant in a deployment mode, by name."""
    special = (catalogue.tenants.get(tenant_id), catalogue.modes.get(mode))
    return sorted({*catalogue.roles, *(role for overrides in special if overrides for role in overrides.roles)})


def default_output_tokens(catalogue: Catalogue, tenant_id: str, mode: str, meant: Named) -> int:
    """The output limit of a request that names none: the role's, and never more than the pinned model can write."""
    limit = catalogue.role(meant.role, tenant_id, mode).max_output_tokens
    most = _by_name(catalogue)[meant.model].max_output_tokens if meant.model else None
    return min(limit, most) if most else limit


def _by_name(catalogue: Catalogue) -> dict[str, ModelConfig]:
    return {str(model.candidate): model for model in catalogue.models}


def _role(catalogue: Catalogue, tenant_id: str, mode: str, role: str) -> ListedModel:
    models = catalogue.role(role, tenant_id, mode).models
    return ListedModel(id=role, owned_by=_OURS, models=models)


def _model(model: ModelConfig) -> ListedModel:
    return ListedModel(
        id=str(model.candidate),
        owned_by=model.provider,
        capabilities=tuple(sorted(model.capabilities)),
        context_tokens=model.context_tokens,
    )
