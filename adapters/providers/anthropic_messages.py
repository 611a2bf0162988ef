"""Anthropic's Messages API (POST {base}/v1/messages).

Version 2026-10-21 of the API, which is asked unless `api_version` names another, takes neither temperature nor top_p, and the key
as a bearer's; 2023-06-01 takes both, and the key in a header of its own. What of an answer is reasoning is billed and left out.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

from adapters.providers.answers import unsupported
from adapters.providers.anthropic_wire import MessageAnswer, message_body
from adapters.providers.endpoint import Endpoint, base_url_of
from adapters.providers.failures import nonsense, refused_midway
from domain.catalogue import ProviderConfig
from domain.models import Completion, CompletionRequest, Embedding, EmbeddingRequest, TextDelta

ANTHROPIC: Final = "https://api.anthropic.com"
VERSION: Final = "2026-10-21"
SAMPLING_VERSION: Final = "2023-06-01"


class AnthropicModel:
    """Implements `domain.ports.models.ModelProvider`. One instance serves concurrent calls; `close` ends its connections."""

    def __init__(self, name: str, config: ProviderConfig, api_key: str | None) -> None:
        """`config.base_url` goes up to and without `/v1`; Anthropic's own unless set. Raises ValueError when it is none."""
        self.name: Final = name
        self.vendor: Final = "anthropic"
        self.external: Final = True
        version = config.api_version or VERSION
        if not version.replace("-", "").isalnum():
            raise ValueError(f"The api_version of provider {name} must be one of Anthropic's, such as {VERSION}.")
        self._sampling = version == SAMPLING_VERSION
        headers = {"anthropic-version": version}
        if api_key:
            headers |= {"x-api-key": api_key} if self._sampling else {"Authorization": f"Bearer {api_key}"}
        base_url = base_url_of(name, config, ANTHROPIC).removesuffix("/v1")
        self._endpoint = Endpoint(name, base_url, config.timeout_seconds, headers)

    async def close(self) -> None:
        """Ends its connections."""
        await self._endpoint.close()

    async def complete(self, model: str, request: CompletionRequest) -> Completion:
        """The whole answer. Raises what the port names, and UnsupportedByModel for what the protocol cannot express."""
        body = self._body(model, request, stream=False)
        said = await self._endpoint.ask("/v1/messages", body, {"Idempotency-Key": request.idempotency_key})
        answer = MessageAnswer(self.name, model, request)
        answer.whole(said)
        return answer.completion()

    async def stream(self, model: str, request: CompletionRequest) -> AsyncIterator[TextDelta | Completion]:
        """The answer as it is written, then the whole of it. Raises as `complete` does."""
        answer = MessageAnswer(self.name, model, request)
        events = self._endpoint.events(
            "/v1/messages",
            self._body(model, request, stream=True),
            {"Idempotency-Key": request.idempotency_key},
            last=lambda event: event.event == "message_stop",
        )
        ended = False
        async with aclosing(events):
            async for event in events:
                members = self._endpoint.object_of(event)
                if event.event == "error":
                    raise refused_midway(self.name, members, begun=answer.begun)
                ended = ended or event.event == "message_stop"
                if text := answer.add(event.event, members):
                    yield TextDelta(text=text)
        if not ended:
            raise nonsense(self.name, "with a stream that has no end")
        yield answer.completion()

    async def embed(self, model: str, request: EmbeddingRequest) -> Embedding:
        """Raises UnsupportedByModel: this vendor has no embeddings."""
        raise unsupported(f"{len(request.texts)} texts to embed with {model}")

    def _body(self, model: str, request: CompletionRequest, *, stream: bool) -> dict[str, Any]:
        return message_body(model, request, stream=stream, sampling=self._sampling)
