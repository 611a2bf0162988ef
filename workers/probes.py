"""What `/readyz` asks: each dependency of the gateway, by its name."""

from __future__ import annotations

from datetime import timedelta

from temporalio.client import Client

from adapters.postgres.connection import Pool, plain_transaction
from adapters.rate_limit import EdgeRateLimiter
from api.services import Probe
from domain.errors import DependencyUnavailable
from domain.ports.constitution import ConstitutionSource


def gateway_probes(pool: Pool, temporal: Client, limiter: EdgeRateLimiter, constitution: ConstitutionSource) -> tuple[Probe, ...]:
    """Postgres, Temporal and the constitution are needed; Redis is only missed, and not asked when none is set."""

    async def postgres() -> None:
        async with plain_transaction(pool) as connection:
            await connection.execute("SELECT 1")

    async def engine() -> None:
        if not await temporal.service_client.check_health(timeout=timedelta(seconds=1)):
            raise DependencyUnavailable("Temporal does not serve; see its log.")

    async def document() -> None:
        await constitution.current()

    probes = (Probe("postgres", postgres), Probe("temporal", engine), Probe("constitution", document))
    return (*probes, Probe("redis", limiter.ping, needed=False)) if limiter.shared else probes
