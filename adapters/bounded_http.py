"""One HTTP exchange with an upper bound on its time and on the size of its answer. Nothing is retried: Temporal owns retries."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, cast

import httpx2
import pydantic_core

CONNECT_SECONDS: Final = 5.0
MOST_BYTES: Final = 16 << 20


class Broken(Exception):
    """No whole answer came: no connection, too slow, cut off, too large. The text says which, in a few words."""


@dataclass(frozen=True)
class Answer:
    """A whole answer."""

    status: int
    headers: httpx2.Headers
    body: bytes

    def json(self) -> Any:
        """The body as JSON; None when it is none, which no answer we ask for is."""
        try:
            return pydantic_core.from_json(self.body)
        except ValueError:
            return None


def as_object(value: Any) -> dict[str, Any]:
    """A JSON object's members; none of anything else, so that a nonsensical answer reads as an empty one."""
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def as_list(value: Any) -> list[Any]:
    """A JSON array's elements; none of anything else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def as_text(value: Any) -> str | None:
    """A JSON string; None for anything else."""
    return value if isinstance(value, str) else None


def new_client(*, headers: dict[str, str] | None = None, most_connections: int = 100) -> httpx2.AsyncClient:
    """A client that follows no redirect, since a redirected request would carry its key elsewhere."""
    limits = httpx2.Limits(max_connections=most_connections, max_keepalive_connections=most_connections)
    return httpx2.AsyncClient(headers=headers, limits=limits, follow_redirects=False)


async def exchange(
    client: httpx2.AsyncClient, method: str, url: str, *, seconds: float, headers: dict[str, str], body: bytes | None = None
) -> Answer:
    """Sends one request and reads its whole answer within `seconds`. Raises Broken."""
    timeout = httpx2.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
    try:
        # The driver's timeouts are per read: a server that drips bytes would outlast them.
        async with asyncio.timeout(seconds):
            async with client.stream(method, url, content=body, headers=headers, timeout=timeout) as response:
                received = bytearray()
                async for chunk in response.aiter_bytes():
                    received += chunk
                    if len(received) > MOST_BYTES:
                        raise Broken("its answer is too large")
                return Answer(response.status_code, response.headers, bytes(received))
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise Broken(f"it did not answer within {seconds:g} seconds") from error
    except httpx2.ConnectError as error:
        raise Broken("it cannot be reached") from error
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise Broken("its answer broke off") from error
