"""A provider whose calls are seen: a span and metrics by the names of OpenTelemetry's conventions, never a text or a tenant."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from opentelemetry import trace
from prometheus_client import CollectorRegistry, Histogram

from domain import genai
from domain.errors import DomainError
from domain.models import Completion, CompletionRequest, Embedding, EmbeddingRequest, TextDelta
from domain.ports.models import ModelProvider
from domain.sessions import Usage

_SECONDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0)
_TOKENS: Final = tuple(4.0**power for power in range(1, 14))
_WHOM: Final = (genai.OPERATION, genai.PROVIDER, genai.REQUEST_MODEL)

_tracer = trace.get_tracer("somagent.models")


class ModelMetrics:
    """Durations, tokens and times to the first piece, of every provider of a process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Registers the metrics; once per registry."""
        whom = tuple(map(genai.label, _WHOM))
        self.seconds = Histogram(
            genai.DURATION_HISTOGRAM,
            "Time of a model call.",
            (*whom, genai.label(genai.ERROR_TYPE)),
            buckets=_SECONDS,
            registry=registry,
        )
        self.tokens = Histogram(
            genai.USAGE_HISTOGRAM,
            "Tokens of a model call.",
            (*whom, genai.label(genai.KIND_OF_TOKENS)),
            buckets=_TOKENS,
            registry=registry,
        )
        self.first = Histogram(
            genai.FIRST_CHUNK_HISTOGRAM, "Time to an answer's first piece.", whom, buckets=_SECONDS, registry=registry
        )


@dataclass
class _Call:
    """One call as it goes."""

    whom: tuple[str, str, str]
    span: trace.Span
    metrics: ModelMetrics
    began: float = field(default_factory=time.monotonic)

    def first(self) -> None:
        self.metrics.first.labels(*self.whom).observe(time.monotonic() - self.began)

    def used(self, usage: Usage, model: str, finish_reason: str | None = None) -> None:
        self.metrics.tokens.labels(*self.whom, "input").observe(usage.input_tokens)
        self.metrics.tokens.labels(*self.whom, "output").observe(usage.output_tokens)
        self.span.set_attribute(genai.RESPONSE_MODEL, model)
        self.span.set_attribute(genai.INPUT_TOKENS, usage.input_tokens)
        self.span.set_attribute(genai.OUTPUT_TOKENS, usage.output_tokens)
        if finish_reason is not None:
            self.span.set_attribute(genai.FINISH_REASONS, [finish_reason])


class ObservedProvider:
    """Implements `domain.ports.models.ModelProvider` around another."""

    def __init__(self, provider: ModelProvider, metrics: ModelMetrics) -> None:
        """`provider` does the work."""
        self._provider, self._metrics = provider, metrics

    @property
    def name(self) -> str:
        """The provider's."""
        return self._provider.name

    @property
    def vendor(self) -> str:
        """The provider's."""
        return self._provider.vendor

    @property
    def external(self) -> bool:
        """The provider's."""
        return self._provider.external

    async def complete(self, model: str, request: CompletionRequest) -> Completion:
        """The whole answer."""
        with self._seen(genai.CHAT, model) as call:
            completion = await self._provider.complete(model, request)
            call.used(completion.usage, completion.model, completion.finish_reason)
            return completion

    async def stream(self, model: str, request: CompletionRequest) -> AsyncIterator[TextDelta | Completion]:
        """The answer as it is written."""
        with self._seen(genai.CHAT, model) as call:
            begun = False
            async for item in self._provider.stream(model, request):
                if isinstance(item, Completion):
                    call.used(item.usage, item.model, item.finish_reason)
                elif not begun:
                    begun = True
                    call.first()
                yield item

    async def embed(self, model: str, request: EmbeddingRequest) -> Embedding:
        """One vector a text."""
        with self._seen(genai.EMBEDDINGS, model) as call:
            embedding = await self._provider.embed(model, request)
            call.used(embedding.usage, embedding.model)
            return embedding

    @contextmanager
    def _seen(self, operation: str, model: str) -> Generator[_Call]:
        whom = (operation, self.vendor, model)
        span = _tracer.start_span(
            f"{operation} {model}", kind=trace.SpanKind.CLIENT, attributes=dict(zip(_WHOM, whom, strict=True))
        )
        call, error_type = _Call(whom, span, self._metrics), ""
        try:
            yield call
        except BaseException as error:
            # An exception's words may quote the prompt, so the span gets its type alone.
            error_type = error.type if isinstance(error, DomainError) else type(error).__name__
            span.set_attribute(genai.ERROR_TYPE, error_type)
            span.set_status(trace.StatusCode.ERROR)
            raise
        finally:
            span.end()
            self._metrics.seconds.labels(*whom, error_type).observe(time.monotonic() - call.began)
