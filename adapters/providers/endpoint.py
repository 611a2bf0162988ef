"""One vendor's HTTP API within the bounds of every call: a total time, a largest answer, no redirect, no proxy, no retry."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
import pydantic_core

from adapters.bounded_http import Answer, Broken, NoEventStream, as_object, exchange, exchange_events, new_client
from adapters.providers.failures import broken, nonsense, refused
from domain.catalogue import ProviderConfig

_JSON: Final = {"Content-Type": "application/json", "User-Agent": "somagent"}


def base_url_of(name: str, config: ProviderConfig, default: str | None = None) -> str:
    """The provider's address without a last slash. Raises ValueError when it is none."""
    base_url = config.base_url or default or ""
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(
            f"The base_url of provider {name} must be an http or https address without a query, such as http://127.0.0.1:8000/v1."
        )
    return base_url.rstrip("/")


class Endpoint:
    """Serves concurrent calls; `close` ends its connections."""

    def __init__(self, name: str, base_url: str, seconds: float, headers: Mapping[str, str]) -> None:
        """`seconds` bounds each call. Raises ValueError for a key that no header can carry."""
        if not all(value.isascii() and value.isprintable() for value in headers.values()):
            raise ValueError(f"The key of provider {name} holds characters that no key has; see that it was copied whole.")
        self._name, self._base, self._seconds = name, base_url, seconds
        self._client = new_client(headers={**_JSON, **headers}, trust_env=False)

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()

    async def ask(self, path: str, body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Posts `body` and returns the JSON object that answers it. Raises what `domain.ports.models.ModelProvider` names."""
        sent = {"Accept": "application/json", **(headers or {})}
        try:
            answer = await exchange(
                self._client, "POST", self._base + path, seconds=self._seconds, headers=sent, body=_json(body)
            )
        except Broken as error:
            raise broken(self._name, error) from None
        return self._object(answer)

    async def events(
        self,
        path: str,
        body: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
        *,
        last: Callable[[httpx2.ServerSentEvent], bool] = lambda _: False,
    ) -> AsyncGenerator[httpx2.ServerSentEvent]:
        """Posts `body` and yields the events that answer it, until `last` knows one as the last. Raises as `ask` does."""
        sent = {"Accept": "text/event-stream", **(headers or {})}
        source = exchange_events(
            self._client, self._base + path, seconds=self._seconds, headers=sent, body=_json(body), last=last
        )
        try:
            async with aclosing(source):
                async for event in source:
                    yield event
        except Broken as error:
            raise broken(self._name, error) from None
        except NoEventStream as error:
            self._object(error.answer)
            raise nonsense(self._name, "with no event stream") from None

    def object_of(self, event: httpx2.ServerSentEvent) -> dict[str, Any]:
        """The JSON object that an event carries. Raises ModelStreamBroken."""
        try:
            return _members(pydantic_core.from_json(event.data))
        except ValueError:
            raise nonsense(self._name, "with an event that is no JSON object") from None

    def _object(self, answer: Answer) -> dict[str, Any]:
        if answer.status != 200:
            raise refused(self._name, answer)
        members = as_object(answer.json())
        if not members:
            raise nonsense(self._name, "with something that is no JSON object")
        if members.get("error"):
            raise nonsense(self._name, "HTTP 200 with an error")
        return members


def _json(body: Mapping[str, Any]) -> bytes:
    return pydantic_core.to_json(body)


def _members(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError
    return as_object(value)
