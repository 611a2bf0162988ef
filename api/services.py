"""What the gateway's routes work with: ports, made by `workers` and handed in. The gateway itself builds none of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import cast

from opentelemetry.trace import Tracer
from starlette.requests import HTTPConnection
from temporalio.client import Client

from api.event_streams import StreamPlaces
from domain.catalogue import Catalogue
from domain.ports.api_keys import ApiKeyDirectory, ApiKeyReads
from domain.ports.blobs import BlobStore
from domain.ports.budgets import BudgetReads, UsageReads
from domain.ports.clients import ClientReads
from domain.ports.constitution import ConstitutionSource
from domain.ports.documents import DocumentReads
from domain.ports.events import EventReads
from domain.ports.idempotency import Claims
from domain.ports.identity import ClientDirectory, Standing, Tokens
from domain.ports.kill_switches import KillSwitches, Lease
from domain.ports.models import Prices, TokenReads
from domain.ports.policy import PolicyEngine
from domain.ports.policy_replays import PolicyReplayReads
from domain.ports.policy_sets import ActivePolicySets, PolicySetReads
from domain.ports.rate_limits import RateLimiter
from domain.ports.revocations import RevocationReads
from domain.ports.roles import RoleReads
from domain.ports.sessions import SessionReads
from domain.ports.sign_in import Codes, Logins, SignIns
from domain.ports.slm import Forecasts, SlmReads
from domain.ports.tenants import TenantDirectory, TenantReads
from domain.ports.two_key import TwoKeyReads
from domain.ports.users import Activations, Passwords, RoleScopes, Sealer, UserReads
from runtime.metrics import HttpMetrics
from runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Probe:
    """One dependency as `/readyz` asks it: `check` returns when it answers and raises when it does not. What is not
    `needed` may be down: it is reported as degraded."""

    name: str
    check: Callable[[], Awaitable[None]]
    needed: bool = True


@dataclass(frozen=True, slots=True)
class Models:
    """What is configured about models, as the edge needs it to judge a request."""

    catalogue: Catalogue
    prices: Prices
    mode: str


@dataclass(frozen=True, slots=True)
class Policies:
    """The policy engine, the tenants' own policies, and the replays of decisions."""

    engine: PolicyEngine
    active: ActivePolicySets
    sets: PolicySetReads
    replays: PolicyReplayReads


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Users, what their roles open, and what they log in with."""

    users: UserReads
    activations: Activations
    roles: RoleScopes
    passwords: Passwords
    sealer: Sealer
    sign_ins: SignIns
    logins: Logins
    codes: Codes
    two_key: TwoKeyReads


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything a route may use."""

    settings: Settings
    temporal: Client
    tokens: Tokens
    clients: ClientDirectory
    standing: Standing
    people: People
    api_keys: ApiKeyReads
    api_key_directory: ApiKeyDirectory
    revocations: RevocationReads
    lease: Lease
    kill_switches: KillSwitches
    policies: Policies
    roles: RoleReads
    tenant_clients: ClientReads
    tenants: TenantReads
    tenant_terms: TenantDirectory
    claims: Claims
    constitution: ConstitutionSource
    blobs: BlobStore
    sessions: SessionReads
    documents: DocumentReads
    models: Models
    slm: SlmReads
    forecasts: Forecasts
    budgets: BudgetReads
    usage: UsageReads
    events: EventReads
    rate_limiter: RateLimiter
    probes: tuple[Probe, ...]
    metrics: HttpMetrics
    tracer: Tracer
    streams: StreamPlaces = field(default_factory=StreamPlaces)
    token_reads: TokenReads | None = None
    """Answers while they are written; without it they are there once they are recorded."""


def services_of(request: HTTPConnection) -> Services:
    """The services of the application that answers."""
    return cast(Services, request.app.state.services)
