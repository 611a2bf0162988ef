"""The composition root: adapters made from settings and handed to activities and routes as ports."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from opentelemetry import trace
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from temporalio.client import Client

from activities.api_keys import ApiKeyActivities
from activities.budgets import BudgetActivities
from activities.clients import ClientActivities
from activities.documents import DocumentActivities
from activities.effects import Effects
from activities.gate import Gate
from activities.kill_switches import KillSwitchActivities
from activities.memory import MemoryActivities
from activities.policy_replays import PolicyReplayActivities
from activities.policy_sets import PolicySetActivities
from activities.revocations import RevocationActivities
from activities.roles import RoleActivities
from activities.sessions import SessionActivities
from activities.slm import SlmActivities
from activities.slm_inputs import ModelInputs
from activities.slm_requests import SlmRequestActivities
from activities.tenants import TenantActivities
from activities.two_key import TwoKeyActivities
from activities.users import UserActivities
from adapters.cedar.engine import CedarEngine
from adapters.cedar.observed import ObservedEngine, PolicyMetrics
from adapters.constitution import CachedConstitution
from adapters.extraction import PlainTextExtractor
from adapters.moderation import Re2Moderator
from adapters.passwords import Argon2Passwords
from adapters.postgres.api_keys import PostgresApiKeyDirectory, PostgresApiKeys
from adapters.postgres.blobs import PostgresBlobs
from adapters.postgres.budgets import PostgresBudgets
from adapters.postgres.clients import PostgresClients
from adapters.postgres.codes import PostgresCodes
from adapters.postgres.connection import Pool, create_pool
from adapters.postgres.constitutions import PostgresConstitutions
from adapters.postgres.documents import PostgresDocuments
from adapters.postgres.events import PostgresEvents
from adapters.postgres.forecasts import PostgresForecasts
from adapters.postgres.idempotency import PostgresClaims
from adapters.postgres.identity import PostgresClientDirectory, PostgresStanding
from adapters.postgres.kill_switch_effects import PostgresStoppedWork
from adapters.postgres.kill_switch_lease import PostgresLease
from adapters.postgres.kill_switches import PostgresKillSwitches
from adapters.postgres.lost_calls import PostgresLedger
from adapters.postgres.memories import PostgresMemory
from adapters.postgres.notices import Notices
from adapters.postgres.policy_replays import PostgresPolicyReplays
from adapters.postgres.policy_sets import CurrentPolicySets, PostgresPolicySets
from adapters.postgres.revocations import PostgresRevocations
from adapters.postgres.roles import PostgresRoles
from adapters.postgres.session_reads import PostgresSessionReads
from adapters.postgres.sessions import PostgresSessions
from adapters.postgres.sign_in import PostgresLogins, PostgresSignIns
from adapters.postgres.slm_reads import PostgresSlmReads
from adapters.postgres.slm_requests import PostgresSlmRequests
from adapters.postgres.tenants import PostgresTenantDirectory, PostgresTenants
from adapters.postgres.two_key import PostgresTwoKey
from adapters.postgres.usage import PostgresUsage
from adapters.postgres.user_standing import UserStanding
from adapters.postgres.users import PostgresUsers
from adapters.prices import GenaiPrices
from adapters.providers.observed import ModelMetrics
from adapters.rate_limit import EdgeRateLimiter
from adapters.redis.connection import RedisConnection
from adapters.redis.token_reads import RedisTokenReads
from adapters.sealing import FileSealer
from adapters.signing import read_trusted_keys
from adapters.signing_keys import FileTokens
from adapters.statements import DsseSigner
from api.services import Models, People, Policies, Services
from domain.errors import ConstitutionUnavailable, DependencyUnavailable
from domain.ports.constitution import ConstitutionSource
from domain.ports.memory import Memory
from runtime.client import connect
from runtime.metrics import HttpMetrics, new_registry
from runtime.runs import TemporalRuns
from runtime.settings import Settings
from workers.models import catalogue_of, make_backplane
from workers.probes import gateway_probes


@dataclass(frozen=True)
class Activities:
    """The activities of a worker, with their ports in place."""

    sessions: SessionActivities
    slm: SlmActivities
    slm_requests: SlmRequestActivities
    memory: MemoryActivities
    documents: DocumentActivities
    api_keys: ApiKeyActivities
    revocations: RevocationActivities
    kill_switches: KillSwitchActivities
    policy_sets: PolicySetActivities
    policy_replays: PolicyReplayActivities
    roles: RoleActivities
    clients: ClientActivities
    tenants: TenantActivities
    users: UserActivities
    two_key: TwoKeyActivities
    budgets: BudgetActivities


def _needed_url(value: object, name: str) -> str:
    if value is None:
        raise DependencyUnavailable(f"{name} is not set; run `soma up`, or set it to the server's address.")
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)


def _needed_file(path: Path | None, name: str) -> Path:
    if path is None:
        raise DependencyUnavailable(f"{name} is not set; `soma up` makes the file, or name one.")
    return path


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
    lease: PostgresLease


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
        lease = PostgresLease(url)
        stack.push_async_callback(lease.aclose)
        await lease.start()
        yield _Base(pool, notices, engine, moderator, constitution, lease)


@asynccontextmanager
async def compose_worker(
    settings: Settings, temporal: Client, registry: CollectorRegistry | None = None, *, calls_models: bool = True
) -> AsyncGenerator[Activities]:
    """The activities of every queue, while the block runs; they count in `registry`. A worker that does not call models needs
    none of their keys. Raises DependencyUnavailable."""
    async with AsyncExitStack() as exits:
        base = await exits.enter_async_context(_base(settings, "worker"))
        pool, blobs = base.pool, PostgresBlobs(base.pool)
        documents = PostgresDocuments(pool)
        registry = registry or new_registry()
        gate = Gate(
            constitutions=base.constitution,
            policy_sets=CurrentPolicySets(pool, base.engine),
            standing=UserStanding(PostgresStanding(pool), pool, PostgresRoles(pool)),
            kill_switches=base.lease,
            moderator=base.moderator,
            policy=ObservedEngine(base.engine, PolicyMetrics(registry)),
            blobs=blobs,
        )
        inputs = ModelInputs(blobs=blobs, sessions=PostgresSessionReads(pool, base.notices), documents=documents)
        review = (base.constitution, base.moderator)
        metrics = ModelMetrics(registry)
        effects = Effects(base.lease, settings.region)
        backplane = make_backplane(settings, pool, inputs, review, metrics, effects, exits, calls=calls_models)
        yield Activities(
            sessions=SessionActivities(gate, PostgresSessions(pool)),
            slm=backplane.slm,
            slm_requests=SlmRequestActivities(gate=gate, planner=backplane.planner, store=PostgresSlmRequests(pool)),
            memory=MemoryActivities(memory=_memory(settings, pool, exits), blobs=blobs, effects=effects),
            documents=DocumentActivities(extractor=PlainTextExtractor(), blobs=blobs, documents=documents),
            api_keys=ApiKeyActivities(PostgresApiKeys(pool)),
            revocations=RevocationActivities(PostgresRevocations(pool)),
            kill_switches=KillSwitchActivities(
                store=PostgresStoppedWork(pool), runs=TemporalRuns(temporal), signer=DsseSigner(settings.statement_key_file)
            ),
            policy_sets=PolicySetActivities(store=PostgresPolicySets(pool), blobs=blobs, engine=base.engine),
            policy_replays=PolicyReplayActivities(
                store=PostgresPolicyReplays(pool),
                history=PostgresPolicyReplays(pool),
                constitutions=PostgresConstitutions(pool),
                policy_sets=PostgresPolicySets(pool),
                engine=base.engine,
                blobs=blobs,
            ),
            roles=RoleActivities(PostgresRoles(pool)),
            clients=ClientActivities(PostgresClients(pool)),
            tenants=TenantActivities(PostgresTenants(pool)),
            users=UserActivities(PostgresUsers(pool)),
            two_key=TwoKeyActivities(PostgresTwoKey(pool)),
            budgets=BudgetActivities(
                budgets=PostgresBudgets(pool),
                ledger=PostgresLedger(pool),
                blobs=blobs,
                prices=GenaiPrices(catalogue_of(settings)),
            ),
        )


def _people(settings: Settings, pool: Pool) -> People:
    """What the routes about users and the log-in use."""
    users = PostgresUsers(pool)
    return People(
        users=users,
        activations=users,
        roles=PostgresRoles(pool),
        passwords=Argon2Passwords(),
        sealer=FileSealer(settings.login_key_file),
        sign_ins=PostgresSignIns(pool),
        logins=PostgresLogins(pool),
        codes=PostgresCodes(pool),
        two_key=PostgresTwoKey(pool),
    )


@asynccontextmanager
async def compose_gateway(settings: Settings, tracer: trace.Tracer) -> AsyncGenerator[Services]:
    """What the gateway's routes use, while the block runs. Raises DependencyUnavailable."""
    token_url = _needed_url(settings.database_token_url, "DATABASE_TOKEN_URL")
    tokens = FileTokens(
        _needed_file(settings.signing_key_file, "SIGNING_KEY_FILE"),
        issuer=settings.public_url.rstrip("/"),
        audience=settings.token_audience,
        lifetime_seconds=settings.token_lifetime_seconds,
    )
    catalogue = catalogue_of(settings)
    async with AsyncExitStack() as stack:
        base = await stack.enter_async_context(_base(settings, "gateway"))
        token_pool = await create_pool(token_url, 2, "somagent-token")
        stack.push_async_callback(token_pool.close)
        keys = PostgresApiKeyDirectory(token_pool, base.pool)
        stack.push_async_callback(keys.aclose)
        limiter = EdgeRateLimiter(settings.redis_url.get_secret_value() if settings.redis_url else None)
        stack.push_async_callback(limiter.aclose)
        redis = RedisConnection(settings.redis_url.get_secret_value() if settings.redis_url else None, "streams")
        stack.push_async_callback(redis.aclose)
        token_reads = RedisTokenReads(redis)
        stack.push_async_callback(token_reads.aclose)
        temporal = await connect(settings, lazy=True)
        yield Services(
            settings=settings,
            temporal=temporal,
            tokens=tokens,
            clients=PostgresClientDirectory(token_pool),
            standing=UserStanding(PostgresStanding(base.pool), base.pool, PostgresRoles(base.pool)),
            people=_people(settings, base.pool),
            api_keys=PostgresApiKeys(base.pool),
            revocations=PostgresRevocations(base.pool),
            lease=base.lease,
            kill_switches=PostgresKillSwitches(base.pool),
            policies=Policies(
                engine=base.engine,
                active=CurrentPolicySets(base.pool, base.engine),
                sets=PostgresPolicySets(base.pool),
                replays=PostgresPolicyReplays(base.pool),
            ),
            roles=PostgresRoles(base.pool),
            tenant_clients=PostgresClients(base.pool),
            tenants=PostgresTenants(base.pool),
            tenant_terms=PostgresTenantDirectory(base.pool),
            api_key_directory=keys,
            claims=PostgresClaims(base.pool),
            constitution=base.constitution,
            blobs=PostgresBlobs(base.pool),
            sessions=PostgresSessionReads(base.pool, base.notices),
            documents=PostgresDocuments(base.pool),
            models=Models(catalogue, GenaiPrices(catalogue), settings.deployment_mode),
            slm=PostgresSlmReads(base.pool, base.notices),
            forecasts=PostgresForecasts(base.pool),
            token_reads=token_reads,
            budgets=PostgresBudgets(base.pool),
            usage=PostgresUsage(base.pool),
            events=PostgresEvents(base.pool, base.notices),
            rate_limiter=limiter,
            probes=gateway_probes(base.pool, temporal, limiter, base.constitution),
            metrics=HttpMetrics(new_registry()),
            tracer=tracer,
        )
