"""Where signed constitutions come from: the store, a URL, and copies in Redis that every process of a platform shares.

What surprises: an origin that cannot be reached and one that answers without a constitution are told apart. The first is
DependencyUnavailable and may be waited out; the second is ConstitutionUnavailable and stops new work.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import httpx2
from redis import asyncio as redis_asyncio
from redis.exceptions import RedisError

from domain.errors import ConstitutionUnavailable, DependencyUnavailable
from domain.names import SYSTEM_TENANT
from domain.ports.constitution import ConstitutionStore

MAX_BYTES: Final = 4 * 1024 * 1024
_FETCH_SECONDS: Final = 1.0
_REDIS_SECONDS: Final = 0.25


@dataclass(frozen=True)
class Fetched:
    """An envelope, or None when the one with the given etag still stands."""

    envelope: dict[str, Any] | None
    etag: str | None = None


class Origin(Protocol):
    """Where the envelope in force is asked for."""

    @property
    def name(self) -> str:
        """What errors call it."""
        ...

    async def fetch(self, etag: str | None, /) -> Fetched:
        """The envelope in force. Raises DependencyUnavailable (out of reach) and ConstitutionUnavailable (it has none)."""
        ...

    async def aclose(self) -> None:
        """Closes connections of its own."""
        ...


class StoreOrigin:
    """The platform's own store."""

    name = "the store"

    def __init__(self, store: ConstitutionStore) -> None:
        """`store` keeps the envelopes."""
        self._store = store

    async def fetch(self, _etag: str | None, /) -> Fetched:
        """The envelope activated last."""
        envelope = await self._store.active()
        if envelope is None:
            raise ConstitutionUnavailable("The store holds no constitution; activate one (`soma up` does).")
        return Fetched(envelope)

    async def aclose(self) -> None:
        """The store closes itself."""


class UrlOrigin:
    """A URL that serves the envelope as JSON; asked with If-None-Match (RFC 9110, 13.1.2) when an ETag is known."""

    def __init__(self, url: str) -> None:
        """`url` is http or https; the signature, not the transport, is what is trusted."""
        self._url = url
        self._client = httpx2.AsyncClient(timeout=_FETCH_SECONDS, headers={"Accept": "application/json"})
        self.name = "CONSTITUTION_URL"

    async def fetch(self, etag: str | None, /) -> Fetched:
        """One GET of at most a second and 4 MiB. 5xx, 408 and 429 count as out of reach, other refusals as having none."""
        headers = {"If-None-Match": etag} if etag else {}
        try:
            async with asyncio.timeout(_FETCH_SECONDS), self._client.stream("GET", self._url, headers=headers) as response:
                if response.status_code == 304 and etag:
                    return Fetched(None, etag)
                self._require_ok(response.status_code)
                body = b""
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > MAX_BYTES:
                        raise ConstitutionUnavailable(
                            f"{self.name} answers with more than {MAX_BYTES} bytes; serve one envelope."
                        )
                return Fetched(_object(body, self.name), response.headers.get("ETag"))
        except (httpx2.HTTPError, httpx2.InvalidURL, TimeoutError) as error:
            raise DependencyUnavailable(f"{self.name} does not answer ({type(error).__name__}); see that it is served.") from None

    def _require_ok(self, status: int) -> None:
        if status >= 500 or status in (408, 429):
            raise DependencyUnavailable(f"{self.name} answers {status}; see that it is served.")
        if status != 200:
            raise ConstitutionUnavailable(f"{self.name} answers {status} instead of a constitution; serve a signed one there.")

    async def aclose(self) -> None:
        """Closes its connections."""
        await self._client.aclose()


@dataclass(frozen=True)
class Copy:
    """A copy as Redis keeps it. `age_seconds`: since the origin was last heard of."""

    envelope: dict[str, Any]
    hash: str
    etag: str | None
    age_seconds: float


class RedisCopies:
    """Copies by hash, and which hash an origin served last. Nothing here is trusted: what is read is verified again.

    Redis may be away or empty at any time; then there is simply no copy.
    """

    def __init__(self, url: str, origin: str, keep_seconds: float) -> None:
        """`origin` names what is copied, `keep_seconds` how long a copy outlives the last word from there."""
        self._client: Any = cast("Any", redis_asyncio.Redis).from_url(
            url, socket_timeout=_REDIS_SECONDS, socket_connect_timeout=_REDIS_SECONDS, decode_responses=True
        )
        self._latest = f"{SYSTEM_TENANT}:constitution:latest:{hashlib.sha256(origin.encode()).hexdigest()[:32]}"
        self._keep_ms = max(1, round(keep_seconds * 1000))

    async def read(self) -> Copy | None:
        """The copy of what the origin served last, or None."""
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                pointer, left_ms = await self._client.get(self._latest), await self._client.pttl(self._latest)
                if pointer is None:
                    return None
                latest = _object(pointer.encode(), "Redis")
                envelope = await self._client.get(_key(latest["hash"]))
                if envelope is None:
                    return None
                age = max(0.0, (self._keep_ms - left_ms) / 1000)
                return Copy(_object(envelope.encode(), "Redis"), latest["hash"], latest.get("etag"), age)
        except (RedisError, OSError, TimeoutError, ConstitutionUnavailable, KeyError, TypeError):
            return None

    async def write(self, hash_: str, envelope: dict[str, Any], etag: str | None) -> None:
        """Keeps a verified envelope; does nothing while Redis is away."""
        try:
            async with asyncio.timeout(_REDIS_SECONDS):
                await self._client.set(_key(hash_), json.dumps(envelope), px=self._keep_ms)
                await self._client.set(self._latest, json.dumps({"hash": hash_, "etag": etag}), px=self._keep_ms)
        except (RedisError, OSError, TimeoutError):
            return

    async def aclose(self) -> None:
        """Closes the connection."""
        await self._client.aclose()


def _key(hash_: object) -> str:
    return f"{SYSTEM_TENANT}:constitution:{hash_}"


def _object(body: bytes, name: str) -> dict[str, Any]:
    try:
        value: object = json.loads(body)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ConstitutionUnavailable(f"{name} answers with something that is no JSON object; serve a signed constitution there.")
    return cast("dict[str, Any]", value)
