"""Chat completions and embeddings of any endpoint that speaks OpenAI's protocol: POST {base}/chat/completions, /embeddings.

An answer's length is bounded by `max_tokens`, which every local server (llama.cpp, vLLM, Ollama, LM Studio) obeys; some ignore
its successor silently. A model that refuses it by name, as OpenAI's newer ones do, is asked with `max_completion_tokens` from
then on: the refused request was never run, so this repeats nothing.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import urlsplit

from adapters.providers.endpoint import Endpoint, base_url_of
from adapters.providers.failures import nonsense, refused_midway
from adapters.providers.openai_chat import DONE, ChatAnswer, chat_body, embeddings_body, read_embeddings
from domain.catalogue import ProviderConfig
from domain.errors import DomainError, ModelBadRequest, UnsupportedByModel
from domain.models import Completion, CompletionRequest, Embedding, EmbeddingRequest, TextDelta

OPENAI: Final = "https://api.openai.com/v1"


class OpenAICompatibleModel:
    """Implements `domain.ports.models.ModelProvider`. One instance serves concurrent calls; `close` ends its connections."""

    def __init__(self, name: str, config: ProviderConfig, api_key: str | None) -> None:
        """`config.base_url` goes up to and with `/v1`; OpenAI's own unless set. Raises ValueError when it is no http address."""
        self.name: Final = name
        self.external: Final = True
        base_url = self._base_url(config)
        self.vendor: Final = self._vendor(base_url)
        self._endpoint = Endpoint(name, base_url, config.timeout_seconds, self._key(api_key) if api_key else {})
        self._modern: set[str] = set()

    def _base_url(self, config: ProviderConfig) -> str:
        return base_url_of(self.name, config, OPENAI)

    def _vendor(self, base_url: str) -> str:
        return "openai" if urlsplit(base_url).hostname == "api.openai.com" else "openai_compatible"

    def _key(self, api_key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {api_key}"}

    def _path(self, model: str, what: str) -> str:
        del model  # On Azure it is part of the path.
        return f"/{what}"

    async def close(self) -> None:
        """Ends its connections."""
        await self._endpoint.close()

    async def complete(self, model: str, request: CompletionRequest) -> Completion:
        """The whole answer. Raises what the port names, and UnsupportedByModel for what the protocol cannot express."""
        limit = self._limit(model)
        try:
            said = await self._ask(model, request, limit)
        except (ModelBadRequest, UnsupportedByModel) as error:
            if not self._learns(model, limit, error):
                raise
            said = await self._ask(model, request, self._limit(model))
        answer = ChatAnswer(self.name, model, request)
        answer.add(said)
        return answer.completion()

    async def stream(self, model: str, request: CompletionRequest) -> AsyncIterator[TextDelta | Completion]:
        """The answer as it is written, then the whole of it. Raises as `complete` does."""
        limit = self._limit(model)
        try:
            async with aclosing(self._stream(model, request, limit)) as items:
                async for item in items:
                    yield item
            return
        except (ModelBadRequest, UnsupportedByModel) as error:
            if not self._learns(model, limit, error):
                raise
        async with aclosing(self._stream(model, request, self._limit(model))) as items:
            async for item in items:
                yield item

    async def embed(self, model: str, request: EmbeddingRequest) -> Embedding:
        """One vector a text. Raises as `complete` does."""
        path = self._path(model, "embeddings")
        said = await self._endpoint.ask(path, embeddings_body(model, request), _idempotent(request.idempotency_key))
        return read_embeddings(self.name, model, request, said)

    def _limit(self, model: str) -> str:
        return "max_completion_tokens" if model in self._modern else "max_tokens"

    def _learns(self, model: str, limit: str, error: DomainError) -> bool:
        """Whether the model refused `max_tokens` by name, which is then remembered."""
        if limit != "max_tokens" or error.members.get("param") != limit:
            return False
        self._modern.add(model)
        return True

    async def _ask(self, model: str, request: CompletionRequest, limit: str) -> dict[str, Any]:
        body = chat_body(model, request, limit, stream=False)
        return await self._endpoint.ask(self._path(model, "chat/completions"), body, _idempotent(request.idempotency_key))

    async def _stream(self, model: str, request: CompletionRequest, limit: str) -> AsyncGenerator[TextDelta | Completion]:
        answer = ChatAnswer(self.name, model, request)
        events = self._endpoint.events(
            self._path(model, "chat/completions"),
            chat_body(model, request, limit, stream=True),
            _idempotent(request.idempotency_key),
            last=lambda event: event.data == DONE,
        )
        async with aclosing(events):
            async for event in events:
                if event.data == DONE:
                    continue
                chunk = self._endpoint.object_of(event)
                if chunk.get("error"):
                    raise refused_midway(self.name, chunk, begun=answer.begun)
                if text := answer.add(chunk):
                    yield TextDelta(text=text)
        if not answer.ended:
            raise nonsense(self.name, "with a stream that has no end")
        yield answer.completion()


def _idempotent(key: str) -> dict[str, str]:
    return {"Idempotency-Key": key}
