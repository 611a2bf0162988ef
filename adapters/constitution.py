"""The constitution in force: verified, kept in the process, asked for again.

What holds when its origin fails: while it cannot be reached, a constitution that was verified and has not expired goes on for
`GRACE_REFRESHES` refresh periods after the last answer, then new work stops. An origin that answers with something that does
not verify, or with a lower version than it gave before, stops new work at once: a bad new one never leaves the old one in
force. To go back to older rules, sign them anew with a higher version.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import rfc8785
from pydantic import ValidationError

from adapters.constitution_origins import Copy, Origin, RedisCopies, StoreOrigin, UrlOrigin
from adapters.signing import SigningKey, TrustedKeys, sign_envelope, verify_envelope
from domain.constitution import PAYLOAD_TYPE, ActiveConstitution, Constitution, Direction
from domain.errors import ConstitutionUnavailable, DependencyUnavailable, Unprocessable
from domain.ports.constitution import ConstitutionStore
from domain.ports.moderation import Moderator
from domain.ports.policy import PolicyEngine

GRACE_REFRESHES: Final = 20
"""Refresh periods that a verified constitution outlives the last answer of its origin: ten minutes by default."""

FRESH_SECONDS: Final = 1.0
"""How old an answer may be where the newest counts: whether a token is stale, and what a new one names."""
_RETRY_SECONDS: Final = 5.0
_SKEW: Final = timedelta(minutes=5)
_log = logging.getLogger(__name__)


def canonical(document: Constitution) -> bytes:
    """The canonical JSON (RFC 8785) of a constitution: what is signed and hashed."""
    return rfc8785.dumps(document.model_dump(mode="json"))


def constitution_hash(document: Constitution) -> str:
    """SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical(document)).hexdigest()


def sign_constitution(document: Constitution, key: SigningKey) -> dict[str, Any]:
    """A DSSE envelope around the constitution."""
    return sign_envelope(canonical(document), PAYLOAD_TYPE, key)


def verify(
    envelope: object, *, trusted: TrustedKeys, moderator: Moderator, engine: PolicyEngine, now: datetime
) -> ActiveConstitution:
    """The constitution in an envelope, once everything about it holds. Raises ConstitutionUnavailable, which says what does not.

    Checked in order: envelope and signature, canonical form, schema, dates, policies, moderation rules.
    """
    try:
        payload, key_id = verify_envelope(envelope, PAYLOAD_TYPE, trusted)
        document = _read(payload)
    except Unprocessable as error:
        raise ConstitutionUnavailable(f"The constitution does not verify: {error.detail}") from None
    if document.issued_at > now + _SKEW:
        raise ConstitutionUnavailable(f"The constitution is issued at {document.issued_at.isoformat()}, which is still to come.")
    _require_unexpired(document, now)
    problems = (*(fault.message for fault in engine.check(document.policies)), *moderator.check(document))
    if problems:
        first, *others = problems
        raise ConstitutionUnavailable(f"The constitution cannot be used. {first}{f' And {len(others)} more.' if others else ''}")
    return ActiveConstitution(
        document=document,
        hash=hashlib.sha256(payload).hexdigest(),
        policy_digest=engine.digest(document.policies),
        key_id=key_id,
    )


def _read(payload: bytes) -> Constitution:
    try:
        if rfc8785.dumps(json.loads(payload)) != payload:
            raise Unprocessable("Its JSON is not in canonical form (RFC 8785); sign the canonical form.")
        return Constitution.model_validate_json(payload, strict=True)
    except ValidationError as error:
        first = next(iter(error.errors(include_input=False, include_url=False)))
        place = ".".join(str(part) for part in first["loc"])
        raise Unprocessable(f"Its field {place} is wrong: {first['msg']}.") from None
    except (ValueError, rfc8785.CanonicalizationError):
        raise Unprocessable("Its payload is no JSON; sign the canonical JSON of a constitution.") from None


def _require_unexpired(document: Constitution, now: datetime) -> None:
    if document.expires_at is not None and document.expires_at <= now:
        raise ConstitutionUnavailable(
            f"The constitution expired at {document.expires_at.isoformat()}; sign and activate a new one."
        )


class CachedConstitution:
    """Implements `domain.ports.constitution.ConstitutionSource`."""

    def __init__(
        self,
        *,
        store: ConstitutionStore,
        url: str | None,
        trusted: TrustedKeys,
        moderator: Moderator,
        engine: PolicyEngine,
        redis_url: str | None,
        refresh_seconds: float,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """From `url` where there is one, else from `store`; asked again after `refresh_seconds`."""
        self._origin: Origin = UrlOrigin(url) if url else StoreOrigin(store)
        self._trusted, self._moderator, self._engine = trusted, moderator, engine
        self._refresh_seconds = refresh_seconds
        self._grace_seconds = refresh_seconds * GRACE_REFRESHES
        self._copies = RedisCopies(redis_url, url or self._origin.name, self._grace_seconds) if redis_url else None
        self._clock, self._monotonic = clock, monotonic
        self._refreshing: asyncio.Task[None] | None = None
        self._active: ActiveConstitution | None = None
        self._envelope: dict[str, Any] = {}
        self._etag: str | None = None
        self._trouble = ConstitutionUnavailable("No constitution was loaded yet; try again.")
        self._version = 0
        self._heard_at = float("-inf")
        self._ask_at = self._tried_at = float("-inf")

    async def current(self) -> ActiveConstitution:
        """The constitution in force; no I/O between refreshes. Raises ConstitutionUnavailable."""
        if self._monotonic() >= self._ask_at:
            if self._refreshing is None or self._refreshing.done():
                self._refreshing = asyncio.create_task(self._refresh())
            # Shared, and not cancelled with one who asks: verifying takes longer than a gate may, and would start anew each time.
            await asyncio.shield(self._refreshing)
        if self._active is None:
            raise ConstitutionUnavailable(self._trouble.detail)
        _require_unexpired(self._active.document, self._clock())
        return self._active

    async def refreshed(self) -> ActiveConstitution:
        """As `current`, from an answer of the origin that is a second old at most; while it is out of reach, what is held."""
        now = self._monotonic()
        if now - max(self._heard_at, self._tried_at) >= FRESH_SECONDS:
            self._tried_at, self._ask_at = now, float("-inf")
        return await self.current()

    async def aclose(self) -> None:
        """Closes the connections to origin and Redis."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await self._origin.aclose()
        if self._copies is not None:
            await self._copies.aclose()

    async def _refresh(self) -> None:
        spare = await self._spare() if self._active is None else None
        try:
            fetched = await self._origin.fetch(spare[0].etag if spare else self._etag)
            if fetched.envelope is not None:
                await self._adopt(fetched.envelope, fetched.etag)
            elif spare is not None:
                self._hold(spare[1], spare[0].envelope, spare[0].etag)
        except ConstitutionUnavailable as error:
            self._stop(error)
        except DependencyUnavailable as error:
            self._carry_on(error, spare)
        else:
            self._heard_at = self._monotonic()
            self._ask_at = self._heard_at + self._refresh_seconds
            if self._copies is not None and self._active is not None:
                await self._copies.write(self._active.hash, self._envelope, self._etag)

    async def _spare(self) -> tuple[Copy, ActiveConstitution] | None:
        """A copy from Redis that verifies, is what it is kept as, and is not older than what was held before."""
        copy = await self._copies.read() if self._copies is not None else None
        if copy is None:
            return None
        try:
            active = await asyncio.to_thread(self._verified, copy.envelope)
        except ConstitutionUnavailable:
            return None
        return (copy, active) if active.hash == copy.hash and active.document.version >= self._version else None

    def _stop(self, error: ConstitutionUnavailable) -> None:
        _log.error("No new work starts. %s", error.detail)
        self._active, self._etag, self._trouble = None, None, error
        self._ask_at = self._monotonic() + min(_RETRY_SECONDS, self._refresh_seconds)

    def _carry_on(self, error: DependencyUnavailable, spare: tuple[Copy, ActiveConstitution] | None) -> None:
        """The origin is out of reach: go on with what is held, or with a copy, as long as the grace lasts."""
        if spare is not None:
            self._hold(spare[1], spare[0].envelope, spare[0].etag)
            self._heard_at = self._monotonic() - spare[0].age_seconds
        if self._active is None or self._monotonic() - self._heard_at > self._grace_seconds:
            self._stop(ConstitutionUnavailable(f"No constitution is to be had: {error.detail}"))
            return
        _log.warning(
            "The constitution's origin is out of reach; version %d goes on. %s", self._active.document.version, error.detail
        )
        self._ask_at = self._monotonic() + min(_RETRY_SECONDS, self._refresh_seconds)

    async def _adopt(self, envelope: dict[str, Any], etag: str | None) -> None:
        if self._active is not None and envelope == self._envelope:
            self._etag = etag
            return
        active = await asyncio.to_thread(self._verified, envelope)
        if active.document.version < self._version:
            raise ConstitutionUnavailable(
                f"{self._origin.name} gives version {active.document.version} of the constitution after version "
                f"{self._version}; sign the older rules anew with a higher version."
            )
        self._hold(active, envelope, etag)

    def _hold(self, active: ActiveConstitution, envelope: dict[str, Any], etag: str | None) -> None:
        self._active, self._envelope, self._etag = active, envelope, etag
        self._version = active.document.version

    def _verified(self, envelope: dict[str, Any]) -> ActiveConstitution:
        active = verify(envelope, trusted=self._trusted, moderator=self._moderator, engine=self._engine, now=self._clock())
        for direction in (Direction.INPUT, Direction.OUTPUT):
            self._moderator.review(active, "", direction)  # compiles the rules here, not in the first request
        return active
