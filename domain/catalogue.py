"""What models there are and which one does what: providers, models, roles. It is data, read from MODELS_FILE.

A role maps to models in order of preference, for everyone, for a deployment mode or for a tenant; the most special wins.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, StringConstraints, model_validator

from domain.base import Contract, Count
from domain.errors import UnknownModel
from domain.models import Candidate, Capability, ModelSettings
from domain.ports.secrets import SecretName
from domain.prices import Price

EMBEDDED_PROVIDER: Final = "soma"
EMBEDDED_MODEL: Final = "soma-extractive"
EMBEDDED_EMBEDDINGS: Final = "soma-lexical"

Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}$")]
ModelName = Annotated[str, StringConstraints(pattern=r"^\S{1,200}$")]
RoleName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class ProviderKind(StrEnum):
    """Which protocol a provider speaks."""

    EMBEDDED = "embedded"
    OPENAI = "openai"
    """Chat completions and embeddings of OpenAI, Ollama, vLLM, llama.cpp, LM Studio and others."""
    OPENAI_RESPONSES = "openai_responses"
    AZURE_OPENAI = "azure_openai"
    ANTHROPIC = "anthropic"
    GEMINI = "gemini"


class ProviderConfig(Contract):
    """One endpoint. Keys are named, never written here: an environment variable, a file or the store of secrets holds them."""

    kind: ProviderKind
    base_url: str | None = None
    api_key_env: str | None = None
    api_key_file: str | None = None
    api_key_secret: SecretName | None = None
    """Read with each call, so that a new version counts without a restart."""
    api_version: str | None = None
    region: str | None = None
    requests_per_second: float | None = Field(default=None, gt=0, le=10_000)
    timeout_seconds: float = Field(default=60.0, gt=0, le=600)
    prices: str | None = None
    """The provider's id in the price table; its own name unless set."""

    @model_validator(mode="after")
    def _one_key(self) -> ProviderConfig:
        """A key is named once."""
        if sum(named is not None for named in (self.api_key_env, self.api_key_file, self.api_key_secret)) > 1:
            raise ValueError("name one of api_key_env, api_key_file and api_key_secret")
        return self


class ModelConfig(Contract):
    """One model of a provider."""

    provider: Name
    name: ModelName
    context_tokens: Count | None = None
    max_output_tokens: Count | None = None
    capabilities: frozenset[Capability] = frozenset({Capability.STREAM})
    price: Price | None = None
    """Overrides the price table."""

    @property
    def candidate(self) -> Candidate:
        """The model as routes name it."""
        return Candidate(provider=self.provider, model=self.name)


class RoleConfig(Contract):
    """Who answers for a role: models as `provider/model`, best first, and what they must satisfy."""

    models: tuple[str, ...] = Field(min_length=1)
    settings: ModelSettings = ModelSettings()
    max_output_tokens: int = Field(default=1024, ge=1)
    residency: tuple[str, ...] = ()
    """Regions a provider may be in; none means any."""
    max_price: Price | None = None


class Overrides(Contract):
    """Roles of a tenant or of a deployment mode."""

    roles: dict[RoleName, RoleConfig] = Field(default_factory=dict)
    weight: float = Field(default=1.0, gt=0, le=1000)
    """A tenant's share of busy queues, relative to others."""


class Catalogue(Contract):
    """Everything that is configured about models."""

    providers: dict[Name, ProviderConfig] = Field(default_factory=dict)
    models: tuple[ModelConfig, ...] = ()
    roles: dict[RoleName, RoleConfig] = Field(default_factory=dict)
    tenants: dict[str, Overrides] = Field(default_factory=dict)
    modes: dict[str, Overrides] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> Catalogue:
        """Every model has a provider, and every role names models that are there."""
        for model in self.models:
            if model.provider not in self.providers:
                raise ValueError(f"model {model.name} names provider {model.provider}, which is not configured")
        known = {str(model.candidate) for model in self.models}
        if len(known) != len(self.models):
            raise ValueError("a model is configured twice")
        for overrides in ({"": Overrides(roles=self.roles)} | self.tenants | self.modes).values():
            for role, config in overrides.roles.items():
                if missing := [name for name in config.models if name not in known]:
                    raise ValueError(f"role {role} names {missing[0]}, which is not configured")
        return self

    def model(self, name: str) -> ModelConfig:
        """A model by `provider/model`. Raises UnknownModel."""
        for model in self.models:
            if str(model.candidate) == name:
                return model
        raise UnknownModel("No such model is configured; GET /v1/models lists what there is.")

    def role(self, role: str, tenant_id: str, mode: str) -> RoleConfig:
        """The profile of a role for a tenant in a deployment mode. Raises UnknownModel."""
        for overrides in (self.tenants.get(tenant_id), self.modes.get(mode)):
            if overrides is not None and role in overrides.roles:
                return overrides.roles[role]
        if role in self.roles:
            return self.roles[role]
        raise UnknownModel("No such model role is configured; GET /v1/slm/roles lists what there is.")

    def weight(self, tenant_id: str) -> float:
        """The tenant's share of busy queues, relative to others."""
        overrides = self.tenants.get(tenant_id)
        return overrides.weight if overrides else 1.0
