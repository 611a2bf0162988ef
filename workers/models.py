"""The model backplane's part of the composition: what models there are, and the adapters that call them."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from activities.effects import Effects
from activities.slm import SlmActivities
from activities.slm_inputs import ModelInputs
from activities.slm_records import CallRecords
from activities.slm_requests import ModelPlanner
from activities.streaming import GuardedStreams
from adapters.models_file import read_catalogue
from adapters.postgres.blobs import PostgresBlobs
from adapters.postgres.calls import PostgresCalls
from adapters.postgres.connection import Pool
from adapters.postgres.forecasts import PostgresForecasts
from adapters.prices import GenaiPrices
from adapters.providers.observed import ModelMetrics, ObservedProvider
from adapters.providers.registry import open_keyed_provider, open_provider, read_key
from adapters.redis.breakers import RedisBreakers
from adapters.redis.connection import RedisConnection
from adapters.redis.provider_limits import RedisProviderLimits
from adapters.redis.token_streams import RedisTokenStreams
from domain.catalogue import (
    EMBEDDED_EMBEDDINGS,
    EMBEDDED_MODEL,
    EMBEDDED_PROVIDER,
    Catalogue,
    ModelConfig,
    ProviderConfig,
    ProviderKind,
    RoleConfig,
)
from domain.errors import DependencyUnavailable
from domain.models import Capability
from domain.ports.constitution import ConstitutionSource
from domain.ports.models import ModelProvider
from domain.ports.moderation import Moderator
from domain.ports.secrets import Secrets
from domain.prices import Price
from runtime.settings import Settings
from workers.secrets import open_secrets

ROLES: Final = ("dialogue_reasoning", "tool_call_planning", "code_generation", "summarization")
EMBEDDINGS: Final = "embeddings"
_FREE: Final = Price(input_micros=0, output_micros=0)
_EMBEDDED: Final = (
    ModelConfig(
        provider=EMBEDDED_PROVIDER,
        name=EMBEDDED_MODEL,
        capabilities=frozenset({Capability.STREAM, Capability.SOURCES}),
        price=_FREE,
    ),
    ModelConfig(
        provider=EMBEDDED_PROVIDER, name=EMBEDDED_EMBEDDINGS, capabilities=frozenset({Capability.EMBEDDINGS}), price=_FREE
    ),
)
_EVERYTHING: Final = frozenset(Capability) - {Capability.SOURCES, Capability.EMBEDDINGS}


def catalogue_of(settings: Settings) -> Catalogue:
    """What is configured, with the embedded models added. Raises DependencyUnavailable for a file that cannot be read."""
    if settings.models_file is not None:
        return _with_embedded(read_catalogue(settings.models_file))
    return _with_embedded(_endpoint(settings) if settings.model_base_url else Catalogue())


def _endpoint(settings: Settings) -> Catalogue:
    """The one endpoint of MODEL_BASE_URL, which answers for every role but embeddings."""
    parts = urlsplit(settings.model_base_url or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DependencyUnavailable("MODEL_BASE_URL must be an http or https address, such as http://127.0.0.1:8000/v1.")
    name = "openai" if parts.hostname == "api.openai.com" else "openai_compatible"
    provider = ProviderConfig(
        kind=ProviderKind.OPENAI, base_url=settings.model_base_url, timeout_seconds=settings.model_timeout_seconds
    )
    model = ModelConfig(provider=name, name=settings.model_name or "default", capabilities=_EVERYTHING)
    role = RoleConfig(models=(str(model.candidate),))
    return Catalogue(providers={name: provider}, models=(model,), roles=dict.fromkeys(ROLES, role))


def _with_embedded(catalogue: Catalogue) -> Catalogue:
    """The embedded models answer for every role that nobody else is configured for."""
    answers = RoleConfig(models=(f"{EMBEDDED_PROVIDER}/{EMBEDDED_MODEL}",))
    vectors = RoleConfig(models=(f"{EMBEDDED_PROVIDER}/{EMBEDDED_EMBEDDINGS}",))
    known = {str(model.candidate) for model in catalogue.models}
    return Catalogue(
        providers={EMBEDDED_PROVIDER: ProviderConfig(kind=ProviderKind.EMBEDDED)} | catalogue.providers,
        models=(*catalogue.models, *(model for model in _EMBEDDED if str(model.candidate) not in known)),
        roles=dict.fromkeys(ROLES, answers) | {EMBEDDINGS: vectors} | catalogue.roles,
        tenants=catalogue.tenants,
        modes=catalogue.modes,
    )


def open_providers(settings: Settings, catalogue: Catalogue, exits: AsyncExitStack) -> dict[str, ModelProvider]:
    """Every configured provider, closed with `exits`. Raises DependencyUnavailable for one that cannot be made."""
    providers: dict[str, ModelProvider] = {}
    secrets: Secrets | None = None
    for name, config in catalogue.providers.items():
        if config.api_key_secret is not None:
            if secrets is None:
                secrets = open_secrets(settings)
                exits.push_async_callback(secrets.aclose)
            keyed = open_keyed_provider(name, config, secrets)
            exits.push_async_callback(keyed.close)
            providers[name] = keyed
            continue
        key = read_key(config)
        if key is None and settings.models_file is None and settings.model_api_key is not None:
            key = settings.model_api_key.get_secret_value()
        provider = open_provider(name, config, key)
        exits.push_async_callback(provider.close)
        providers[name] = provider
    return providers


@dataclass(frozen=True)
class Backplane:
    """What a worker needs to plan and make model calls."""

    slm: SlmActivities
    planner: ModelPlanner


def make_backplane(
    settings: Settings,
    pool: Pool,
    inputs: ModelInputs,
    review: tuple[ConstitutionSource, Moderator],
    metrics: ModelMetrics,
    effects: Effects,
    exits: AsyncExitStack,
    *,
    calls: bool,
) -> Backplane:
    """The parts wired together; where nothing is called no provider is opened. `review` is what answers are held against while
    they are written.

    Raises DependencyUnavailable for a model or provider that cannot be had.
    """
    catalogue, mode = catalogue_of(settings), settings.deployment_mode
    prices, forecasts = GenaiPrices(catalogue), PostgresForecasts(pool)
    redis = RedisConnection(settings.redis_url.get_secret_value() if settings.redis_url else None, "models")
    exits.push_async_callback(redis.aclose)
    breakers, carried = RedisBreakers(redis, settings.region), RedisTokenStreams(redis)
    exits.push_async_callback(carried.aclose)
    records = CallRecords(
        catalogue, prices, mode=mode, unpriced_counts=settings.model_unknown_price == "count_tokens", region=settings.region
    )
    return Backplane(
        slm=SlmActivities(
            catalogue=catalogue,
            providers={
                name: ObservedProvider(provider, metrics)
                for name, provider in (open_providers(settings, catalogue, exits) if calls else {}).items()
            },
            inputs=inputs,
            records=records,
            journal=PostgresCalls(pool),
            blobs=PostgresBlobs(pool),
            breakers=breakers,
            limits=RedisProviderLimits(redis),
            forecasts=forecasts,
            effects=effects,
            streams=GuardedStreams(streams=carried, constitutions=review[0], moderator=review[1]),
        ),
        planner=ModelPlanner(catalogue=catalogue, prices=prices, breakers=breakers, forecasts=forecasts, mode=mode),
    )
