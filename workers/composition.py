"""The composition root: adapters made from settings and handed to activities and routes as ports."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from opentelemetry import trace
from pydantic import SecretStr

from activities.documents import DocumentActivities
from activities.gate import Gate
from activities.memory import MemoryActivities
from activities.sessions import SessionActivities
from activities.slm import SlmActivities
from adapters.cedar.engine import CedarEngine
from adapters.constitution import CachedConstitution
from adapters.extraction import PlainTextExtractor
from adapters.moderation import Re2Moderator
from adapters.postgres.blobs import PostgresBlobs
from adapters.postgres.calls import PostgresCalls
from adapters.postgres.connection import Pool, create_pool
from adapters.postgres.constitutions import PostgresConstitutions
from adapters.postgres.documents import PostgresDocuments
from adapters.postgres.events import PostgresEvents
from adapters.postgres.idempotency import PostgresClaims
from adapters.postgres.identity import PostgresClientDirectory, PostgresStanding
from adapters.postgres.memories import PostgresMemory
from adapters.postgres.notices import Notices
from adapters.postgres.session_reads import PostgresSessionReads
from adapters.postgres.sessions import PostgresSessions
from adapters.providers.extractive import ExtractiveModel
from adapters.rate_limit import EdgeRateLimiter
from adapters.signing import read_trusted_keys
from adapters.tokens import JoseTokens
from api.services import Services
from domain.errors import ConstitutionUnavailable, DependencyUnavailable
from domain.ports.constitution import ConstitutionSource
from domain.ports.memory import Memory
from domain.ports.models import ModelProvider
from runtime.client import connect
from runtime.metrics import HttpMetrics, new_registry
from runtime.settings import Settings
from workers.probes import gateway_probes


@dataclass(frozen=True)
class Activities:
    """The activities of a worker, with their ports in place."""

    sessions: SessionActivities
    slm: SlmActivities
    memory: MemoryActivities
    documents: DocumentActivities


def _needed_url(value: object, name: str) -> str:
    if value is None:
        raise DependencyUnavailable(f"{name} is not set; run `soma up`, or set it to the server's address.")
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _needed_file(path: Path | None, name: str) -> Path:
    if path is None:
        raise DependencyUnavailable(f"{name} is not set; `soma up` makes the file, or name one.")
    return path


def _provider(settings: Settings, exits: AsyncExitStack) -> ModelProvider:
    """The configured model, or the embedded one."""
    if settings.model_base_url is None:
        return ExtractiveModel()
    # Adapters of what is not configured are not loaded.
    from adapters.providers.openai_compatible import OpenAICompatibleModel

    model = OpenAICompatibleModel(
        settings.model_base_url, settings.model_name or "default", settings.model_api_key, settings.model_timeout_seconds
    )
    exits.push_async_callback(model.close)
    return model


def _memory(settings: Settings, pool: Pool, exits: AsyncExitStack) -> Memory:
    """SomaBrain, or Postgres full text."""
    if settings.somabrain_url is None:
        return PostgresMemory(pool)
    from adapters.somabrain import SomaBrainMemory

    memory = SomaBrainMemory(
        base_url=settings.somabrain_url,
        api_prefix=settings.somabrain_api_prefix,
        token=settings.somabrain_token.get_secret_value() if settings.somabrain_token else "",
    )
    exits.push_async_callback(memory.close)
    return memory


@dataclass(frozen=True)
class _Base:
    """What gateway and worker both need."""

    pool: Pool
    notices: Notices
    engine: CedarEngine
    moderator: Re2Moderator
    constitution: ConstitutionSource


@asynccontextmanager
async def _base(settings: Settings, name: str) -> AsyncGenerator[_Base]:
    url = _needed_url(settings.database_url, "DATABASE_URL")
    trusted = read_trusted_keys(_needed_file(settings.constitution_trusted_keys_file, "CONSTITUTION_TRUSTED_KEYS_FILE"))
    async with AsyncExitStack() as stack:
        pool = await create_pool(url, settings.database_pool_size, f"somagent-{name}")
        stack.push_async_callback(pool.close)
        notices = Notices(url)
        stack.push_async_callback(notices.close)
        engine, moderator = CedarEngine(), Re2Moderator()
        constitution = CachedConstitution(
            store=PostgresConstitutions(pool),
            url=settings.constitution_url,
            trusted=trusted,
            moderator=moderator,
            engine=engine,
            redis_url=settings.redis_url.get_secret_value() if settings.redis_url else None,
            refresh_seconds=settings.constitution_refresh_seconds,
        )
        stack.push_async_callback(constitution.aclose)
        # Verified now rather than within the first gate's two seconds. Without one the process starts all the same.
        with suppress(ConstitutionUnavailable):
            await constitution.current()
        yield _Base(pool, notices, engine, moderator, constitution)


@asynccontextmanager
async def compose_worker(settings: Settings) -> AsyncGenerator[Activities]:
    """The activities of every queue, while the block runs. Raises DependencyUnavailable."""
    async with AsyncExitStack() as exits:
        base = await exits.enter_async_context(_base(settings, "worker"))
        pool, blobs = base.pool, PostgresBlobs(base.pool)
        documents = PostgresDocuments(pool)
        gate = Gate(
            constitutions=base.constitution,
            standing=PostgresStanding(pool),
            moderator=base.moderator,
            policy=base.engine,
            blobs=blobs,
        )
        yield Activities(
            sessions=SessionActivities(gate, PostgresSessions(pool)),
            slm=SlmActivities(
                provider=_provider(settings, exits),
                journal=PostgresCalls(pool),
                blobs=blobs,
                sessions=PostgresSessionReads(pool, base.notices.wait),
                documents=documents,
            ),
            memory=MemoryActivities(memory=_memory(settings, pool, exits), blobs=blobs),
            documents=DocumentActivities(extractor=PlainTextExtractor(), blobs=blobs, documents=documents),
        )


@asynccontextmanager
async def compose_gateway(settings: Settings, tracer: trace.Tracer) -> AsyncGenerator[Services]:
    """What the gateway's routes use, while the block runs. Raises DependencyUnavailable."""
    token_url = _needed_url(settings.database_token_url, "DATABASE_TOKEN_URL")
    tokens = JoseTokens.from_file(
        _needed_file(settings.signing_key_file, "SIGNING_KEY_FILE"),
        issuer=settings.public_url.rstrip("/"),
        audience=settings.token_audience,
        lifetime_seconds=settings.token_lifetime_seconds,
    )
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(_base(settings, "gateway"))
        token_pool = await create_pool(token_url, 2, "somagent-token")
        stack.push_async_callback(token_pool.close)
        limiter = EdgeRateLimiter(settings.redis_url.get_secret_value() if settings.redis_url else None)
        stack.push_async_callback(limiter.aclose)
        temporal = await connect(settings, lazy=True)
        yield Services(
            settings=settings,
            temporal=temporal,
            tokens=tokens,
            clients=PostgresClientDirectory(token_pool),
            standing=PostgresStanding(base.pool),
            claims=PostgresClaims(base.pool),
            constitution=base.constitution,
            blobs=PostgresBlobs(base.pool),
            sessions=PostgresSessionReads(base.pool, base.notices.wait),
            documents=PostgresDocuments(base.pool),
            events=PostgresEvents(base.pool, base.notices),
            rate_limiter=limiter,
            probes=gateway_probes(base.pool, temporal, limiter, base.constitution),
            metrics=HttpMetrics(new_registry()),
            tracer=tracer,
        )
