"""A provider whose key is read from a store of secrets with each call, so that a new version counts without a restart.

A new version opens a new adapter; calls that began with the former key end with it, and then its connections do.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from domain.errors import DependencyUnavailable, ModelKeyRefused, ModelOverloaded, SecretDenied, SecretMissing, SecretUnavailable
from domain.models import Completion, CompletionRequest, Embedding, EmbeddingRequest, TextDelta
from domain.ports.models import ModelProvider
from domain.ports.secrets import Secret, Secrets


class _Closable(ModelProvider, Protocol):
    async def close(self) -> None: ...


@dataclass
class _Opened:
    """An adapter with one version of the key."""

    version: str
    provider: _Closable
    calls: int = 0


class KeyedProvider:
    """Implements `domain.ports.models.ModelProvider`. Without its key a call fails before anything is sent."""

    def __init__(self, open_with: Callable[[str | None], _Closable], secret: str, secrets: Secrets) -> None:
        """`open_with` makes the adapter for a key; it is tried here without one, which finds mistakes of the configuration."""
        self._open, self._secret, self._secrets = open_with, secret, secrets
        # Nothing is asked of it: it knows how the provider is called.
        self._described = open_with(None)
        self._current: _Opened | None = None
        self.name: Final = self._described.name
        self.vendor: Final = self._described.vendor
        self.external: Final = self._described.external

    async def close(self) -> None:
        """Ends its connections."""
        await self._described.close()
        current, self._current = self._current, None
        if current is not None:
            await current.provider.close()

    async def complete(self, model: str, request: CompletionRequest) -> Completion:
        """The whole answer. Raises as the adapter does; ModelKeyRefused and ModelOverloaded when the key is not to be had."""
        async with self._keyed() as provider:
            return await provider.complete(model, request)

    async def stream(self, model: str, request: CompletionRequest) -> AsyncIterator[TextDelta | Completion]:
        """The answer as it is written, then the whole of it. Raises as `complete` does."""
        async with self._keyed() as provider:
            items: Any = provider.stream(model, request)
            async with aclosing(items):
                async for item in items:
                    yield item

    async def embed(self, model: str, request: EmbeddingRequest) -> Embedding:
        """One vector a text. Raises as `complete` does."""
        async with self._keyed() as provider:
            return await provider.embed(model, request)

    @asynccontextmanager
    async def _keyed(self) -> AsyncGenerator[_Closable]:
        secret = await self._read()
        former, opened = self._current, self._of(secret)
        opened.calls += 1
        try:
            if former is not None and former is not opened and former.calls == 0:
                await former.provider.close()
            yield opened.provider
        finally:
            opened.calls -= 1
            if opened.calls == 0 and opened is not self._current:
                await opened.provider.close()

    async def _read(self) -> Secret:
        """The key. What cannot be had for now may be had with the next attempt; what is refused is as good as a refused key."""
        try:
            return await self._secrets.read(self._secret)
        except (SecretMissing, SecretDenied) as error:
            raise ModelKeyRefused(f"The key of provider {self.name} is not to be had. {error.detail}") from None
        except SecretUnavailable as error:
            raise ModelOverloaded(f"The key of provider {self.name} is not to be had now. {error.detail}") from None

    def _of(self, secret: Secret) -> _Opened:
        current = self._current
        if current is not None and current.version == secret.version:
            return current
        try:
            provider = self._open(secret.value.get_secret_value().strip())
        except DependencyUnavailable as error:
            raise ModelKeyRefused(error.detail) from None
        self._current = _Opened(secret.version, provider)
        return self._current
