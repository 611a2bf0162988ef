"""One HTTP exchange with an upper bound on its time and on the size of its answer. Nothing is retried: Temporal owns retries.

Each asks the effect's guard when the connection stands and nothing is written yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from contextlib import aclosing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, cast

import httpx2
import pydantic_core

from domain.effect_guard import pass_guard

CONNECT_SECONDS: Final = 5.0
MOST_BYTES: Final = 16 << 20
_FAREWELL_SECONDS: Final = 0.5


class Broken(Exception):
    """No whole answer came: no connection, too slow, cut off, too large. The text says which, in a few words."""


class Unreachable(Broken):
    """There was no connection, so nothing was sent."""


class TooSlow(Broken):
    """It took longer than it may."""


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


class NoEventStream(Exception):
    """The server answered otherwise than with an event stream."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(f"HTTP {answer.status}")
        self.answer = answer


def new_client(
    *, headers: dict[str, str] | None = None, most_connections: int = 100, trust_env: bool = True
) -> httpx2.AsyncClient:
    """A client that follows no redirect, since a redirected request would carry its key elsewhere.

    `trust_env=False` leaves the proxies of HTTP_PROXY and its like, and the passwords of ~/.netrc, unread.
    """
    limits = httpx2.Limits(max_connections=most_connections, max_keepalive_connections=most_connections)
    return httpx2.AsyncClient(headers=headers, limits=limits, follow_redirects=False, trust_env=trust_env)


@contextmanager
def _as_broken(seconds: float) -> Generator[None]:
    """Raises Broken for whatever the driver raises."""
    try:
        yield
    except httpx2.ConnectTimeout as error:
        raise Unreachable("it cannot be reached") from error
    except (TimeoutError, httpx2.TimeoutException) as error:
        raise TooSlow(f"it did not answer within {seconds:g} seconds") from error
    except httpx2.ConnectError as error:
        raise Unreachable("it cannot be reached") from error
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise Broken("its answer broke off") from error


async def _whole(response: httpx2.Response) -> Answer:
    received = bytearray()
    async for chunk in response.aiter_bytes():
        received += chunk
        if len(received) > MOST_BYTES:
            raise Broken("its answer is too large")
    return Answer(response.status_code, response.headers, bytes(received))


async def _look_again(event: str, _: Mapping[str, Any]) -> None:
    """The driver tells what it is about to do."""
    if event.endswith(".send_request_headers.started"):
        pass_guard()


_GUARDED: Final = {"trace": _look_again}


async def exchange(
    client: httpx2.AsyncClient, method: str, url: str, *, seconds: float, headers: dict[str, str], body: bytes | None = None
) -> Answer:
    """Sends one request and reads its whole answer within `seconds`. Raises Broken, and what the guard raises."""
    timeout = httpx2.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
    with _as_broken(seconds):
        # The driver's timeouts are per read: a server that drips bytes would outlast them.
        async with asyncio.timeout(seconds):
            async with client.stream(
                method, url, content=body, headers=headers, timeout=timeout, extensions=_GUARDED
            ) as response:
                return await _whole(response)


async def exchange_events(
    client: httpx2.AsyncClient,
    url: str,
    *,
    seconds: float,
    headers: dict[str, str],
    body: bytes,
    last: Callable[[httpx2.ServerSentEvent], bool],
) -> AsyncGenerator[httpx2.ServerSentEvent]:
    """Posts one request and yields the events of its answer, all within `seconds`, the reader's own time included.

    After the event that `last` knows nothing more is yielded. Raises Broken, and NoEventStream for an answer that is none.
    """
    deadline = asyncio.get_running_loop().time() + seconds
    async with aclosing(_events(client, url, headers, body, seconds)) as events:
        while True:
            with _as_broken(seconds):
                # Entered anew for each event: a timeout must not stay open while the reader has the event.
                async with asyncio.timeout_at(deadline):
                    event = await anext(events, None)
            if event is None:
                return
            yield event
            if last(event):
                # A connection whose answer was read to its end can be used again.
                with suppress(TimeoutError, Broken, httpx2.HTTPError, httpx2.StreamError):
                    async with asyncio.timeout(_FAREWELL_SECONDS):
                        await anext(events, None)
                return


async def _events(
    client: httpx2.AsyncClient, url: str, headers: dict[str, str], body: bytes, seconds: float
) -> AsyncGenerator[httpx2.ServerSentEvent]:
    received = 0
    timeout = httpx2.Timeout(seconds, connect=min(CONNECT_SECONDS, seconds))
    async with client.stream("POST", url, content=body, headers=headers, timeout=timeout, extensions=_GUARDED) as response:
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if response.status_code != 200 or kind != "text/event-stream":
            raise NoEventStream(await _whole(response))
        async for event in httpx2.EventSource(response, max_event_size=MOST_BYTES):
            received += len(event.data)
            if received > MOST_BYTES:
                raise Broken("its answer is too large")
            yield event
