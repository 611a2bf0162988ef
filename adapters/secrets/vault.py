"""Secrets in Vault's key-value store (version 2), kept for a while so that a call to a model does not wait for Vault.

What Vault confirmed within `refresh_seconds` is used as it is. Later it is asked again: an answer counts at once, also "no
such secret" and "not allowed". While it gives no answer (sealed, away, late, nonsense), what it last confirmed goes on for
`stale_seconds` or its lease, whichever is shorter, both counted from before the question. Then the secret is refused.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import structlog

from adapters.secrets.names import checked
from adapters.secrets.vault_client import VaultAccess, VaultClient
from domain.errors import SecretStoreSealed, SecretStoreUnreachable, SecretUnavailable
from domain.ports.secrets import Secret

SECONDS: Final = 3.0
"""Longest wait for Vault, login included."""
PAUSE_SECONDS: Final = 1.0
"""A Vault that gave no answer is asked again after this long."""

log = structlog.get_logger("adapters.secrets.vault")


@dataclass(frozen=True)
class _Known:
    secret: Secret
    asked_at: float


class VaultSecrets:
    """Implements `Secrets`. One question goes to Vault at a time; hvac blocks, so it has a thread of its own."""

    def __init__(
        self,
        access: VaultAccess,
        *,
        refresh_seconds: float,
        stale_seconds: float,
        seconds: float = SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Nothing is asked before the first `read`, so a process starts while Vault is away."""
        self._client = VaultClient(access, seconds, clock)
        self._threads = ThreadPoolExecutor(1, "vault")
        self._refresh, self._stale, self._seconds, self._clock = refresh_seconds, stale_seconds, seconds, clock
        self._known: dict[str, _Known] = {}
        self._failed: dict[str, tuple[float, SecretUnavailable]] = {}
        self._asking = asyncio.Lock()

    async def read(self, name: str) -> Secret:
        """As the module says. Raises what `Secrets.read` names."""
        if (fresh := self._within(checked(name), self._refresh)) is not None:
            return fresh
        async with self._asking:
            # Others may have asked while we waited.
            if (fresh := self._within(name, self._refresh)) is not None:
                return fresh
            failed = self._failed.get(name)
            if failed is not None and self._clock() < failed[0] + PAUSE_SECONDS:
                return self._bridged(name, failed[1])
            try:
                return await self._ask(name)
            except (SecretStoreSealed, SecretStoreUnreachable) as error:
                self._failed[name] = (self._clock(), error)
                log.warning("vault.unanswered", secret=name, error=error.type)
                return self._bridged(name, error)
            except SecretUnavailable:
                # It said no: what it said before does not count any more.
                self._known.pop(name, None)
                raise

    async def aclose(self) -> None:
        """Forgets every secret and the token."""
        self._known.clear()
        # A question under way ends by its own time; nobody waits for it.
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def _ask(self, name: str) -> Secret:
        asked_at = self._clock()
        question = asyncio.get_running_loop().run_in_executor(self._threads, self._client.read, name)
        try:
            secret = await asyncio.wait_for(question, self._seconds)
        except TimeoutError:
            raise SecretStoreUnreachable(f"Vault did not answer within {self._seconds:g} seconds; see that it runs.") from None
        before = self._known.get(name)
        if before is not None and before.secret.version != secret.version:
            log.info("vault.new_version", secret=name, version=secret.version)
        self._known[name] = _Known(secret, asked_at)
        self._failed.pop(name, None)
        return secret

    def _within(self, name: str, seconds: float) -> Secret | None:
        """What is known, if Vault confirmed it that recently and its lease lasts."""
        known = self._known.get(name)
        if known is None:
            return None
        lease = known.secret.lease_seconds
        bound = seconds if lease is None else min(seconds, lease)
        return known.secret if self._clock() - known.asked_at < bound else None

    def _bridged(self, name: str, error: SecretUnavailable) -> Secret:
        secret = self._within(name, self._stale)
        if secret is None:
            self._known.pop(name, None)
            # A new one: an error that is raised twice gathers the traces of both.
            raise type(error)(error.detail) from None
        return secret
