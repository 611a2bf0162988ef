"""Google's Gemini API (POST {base}/{version}/models/{model}:generateContent, :streamGenerateContent, :batchEmbedContents).

Version v1 is asked unless `api_version` names another; the names that end in `-latest` exist in v1beta alone. The vendor takes no
idempotency key. Its newer models want each tool call back with a signature of the reasoning behind it, which no other vendor's
conversation has; the value it documents for conversations without one is sent instead.

Not google-genai: over our own HTTP client it still let GOOGLE_GENAI_API_VERSION change the path, made an empty answer of a 200
with an error and half an answer of a stream that was cut off, and its errors quote the vendor's whole body.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final
from urllib.parse import quote

from adapters.bounded_http import as_list, as_object
from adapters.providers.answers import count
from adapters.providers.endpoint import Endpoint, base_url_of
from adapters.providers.failures import nonsense, refused_midway
from adapters.providers.gemini_wire import GeminiAnswer, content_body
from adapters.providers.openai_chat import embedding_of
from domain.catalogue import ProviderConfig
from domain.models import Completion, CompletionRequest, Embedding, EmbeddingRequest, TextDelta

GOOGLE: Final = "https://generativelanguage.googleapis.com"
VERSION: Final = "v1"
_VERSIONED: Final = re.compile(r"/v[0-9]+(alpha|beta)?[0-9]*$")


class GeminiModel:
    """Implements `domain.ports.models.ModelProvider`. One instance serves concurrent calls; `close` ends its connections."""

    def __init__(self, name: str, config: ProviderConfig, api_key: str | None) -> None:
        """`config.base_url` goes up to the version, or includes it; Google's own unless set.

        Raises ValueError when it is no http address.
        """
        self.name: Final = name
        self.vendor: Final = "gcp.gemini"
        self.external: Final = True
        base_url = base_url_of(name, config, GOOGLE)
        if config.api_version or not _VERSIONED.search(base_url):
            base_url = f"{_VERSIONED.sub('', base_url)}/{quote(config.api_version or VERSION, safe='')}"
        self._endpoint = Endpoint(name, base_url, config.timeout_seconds, {"x-goog-api-key": api_key} if api_key else {})

    async def close(self) -> None:
        """Ends its connections."""
        await self._endpoint.close()

    async def complete(self, model: str, request: CompletionRequest) -> Completion:
        """The whole answer. Raises what the port names, and UnsupportedByModel for what the protocol cannot express."""
        said = await self._endpoint.ask(f"{_path(model)}:generateContent", content_body(model, request))
        answer = GeminiAnswer(self.name, model, request)
        answer.add(said)
        return answer.completion()

    async def stream(self, model: str, request: CompletionRequest) -> AsyncIterator[TextDelta | Completion]:
        """The answer as it is written, then the whole of it. Raises as `complete` does."""
        answer = GeminiAnswer(self.name, model, request)
        events = self._endpoint.events(f"{_path(model)}:streamGenerateContent?alt=sse", content_body(model, request))
        async with aclosing(events):
            async for event in events:
                members = self._endpoint.object_of(event)
                if members.get("error"):
                    raise refused_midway(self.name, members, begun=answer.begun)
                if text := answer.add(members):
                    yield TextDelta(text=text)
        if not answer.ended:
            raise nonsense(self.name, "with a stream that has no end")
        yield answer.completion()

    async def embed(self, model: str, request: EmbeddingRequest) -> Embedding:
        """One vector a text. Raises as `complete` does."""
        size = {"outputDimensionality": request.dimensions} if request.dimensions else {}
        name = _path(model).removeprefix("/")
        wanted = [{"model": name, "content": {"parts": [{"text": text}]}, **size} for text in request.texts]
        said = await self._endpoint.ask(f"{_path(model)}:batchEmbedContents", {"requests": wanted})
        vectors: list[Any] = [as_object(item).get("values") for item in as_list(said.get("embeddings"))]
        read = count(as_object(said.get("usageMetadata")).get("promptTokenCount"))
        return embedding_of(self.name, model, request, vectors, read)


def _path(model: str) -> str:
    """`/models/{model}`, or `/tunedModels/{model}` and the like for a model named with its collection."""
    return "/" + quote(model if "/" in model else f"models/{model}", safe="/")
