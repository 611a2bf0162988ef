"""The embedded models, without weights: `soma-extractive`, which invents nothing but quotes, and `soma-lexical`, for embeddings.

It quotes from the documents, from what was recalled and from the user's earlier messages; never from answers of a model.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from domain.catalogue import EMBEDDED_EMBEDDINGS, EMBEDDED_MODEL, EMBEDDED_PROVIDER, ProviderConfig
from domain.errors import UnsupportedByModel
from domain.lexical_embedding import DIMENSIONS, lexical_vector
from domain.models import Completion, CompletionRequest, Embedding, EmbeddingRequest, SourceText, TextDelta
from domain.sentence_ranking import Quote, best_quotes, fingerprint
from domain.sessions import Citation, Usage
from domain.terms import count_tokens

MOST_QUOTES: Final = 4
NOTHING_TO_READ: Final = "I can only quote, and this session holds no document or earlier message to quote from."
NOTHING_RELEVANT: Final = "I found no sentence about this in the documents and messages of this session."
NOTHING_FITS: Final = "The sentences about this are longer than the answer may be."

_EARLIER: Final = "an earlier message"
_OWN_WORDS: Final = frozenset(fingerprint(text) for text in (NOTHING_TO_READ, NOTHING_RELEVANT, NOTHING_FITS))


def _sources(request: CompletionRequest) -> tuple[SourceText, ...]:
    """What may be quoted, each text once."""
    earlier = (
        SourceText(source=message.source, title=_EARLIER, text=message.content)
        for message in request.messages[:-1]
        if message.role == "user" and message.source is not None
    )
    return tuple({source.source: source for source in (*earlier, *request.sources)}.values())


def _line(quote: Quote) -> str:
    return f"\u201c{quote.text}\u201d \u2014 {quote.source.title}"


def answer(request: CompletionRequest) -> Completion:
    """The answer to the last message. The same request gives the same answer; five megabytes take seconds."""
    question, sources = request.messages[-1].content, _sources(request)
    quotes = best_quotes(question, sources, MOST_QUOTES, _OWN_WORDS)
    fitting: list[Quote] = []
    spent = 0
    for quote in quotes:
        cost = count_tokens(_line(quote))
        if spent + cost <= request.max_output_tokens:
            fitting.append(quote)
            spent += cost
    if fitting:
        text = "\n".join(map(_line, fitting))
    elif quotes:
        text = NOTHING_FITS
    else:
        text = NOTHING_RELEVANT if sources else NOTHING_TO_READ
    read = sum(count_tokens(message.content) for message in request.messages)
    read += sum(count_tokens(source.text) for source in request.sources)
    return Completion(
        text=text,
        model=EMBEDDED_MODEL,
        usage=Usage(input_tokens=read, output_tokens=count_tokens(text)),
        citations=tuple(Citation(source=quote.source.source, start=quote.start, end=quote.end) for quote in fitting),
        finish_reason="stop" if len(fitting) == len(quotes) else "length",
    )


def vectors(request: EmbeddingRequest) -> Embedding:
    """The vector of each text. Raises UnsupportedByModel for more dimensions than it has."""
    dimensions = request.dimensions or DIMENSIONS
    if dimensions > DIMENSIONS:
        raise UnsupportedByModel(f"{EMBEDDED_EMBEDDINGS} has {DIMENSIONS} dimensions at most; ask for fewer.")
    return Embedding(
        vectors=tuple(lexical_vector(text, dimensions) for text in request.texts),
        model=EMBEDDED_EMBEDDINGS,
        usage=Usage(input_tokens=sum(map(count_tokens, request.texts))),
    )


def _require_plain(request: CompletionRequest) -> None:
    """Raises UnsupportedByModel for what quoting cannot do; settings without a meaning for it change nothing."""
    wanted = (
        ("tools", request.tools and request.tool_choice != "none"),
        ("a format for the answer", request.format is not None),
        ("images", any(message.images for message in request.messages)),
    )
    for what, asked in wanted:
        if asked:
            raise UnsupportedByModel(f"{EMBEDDED_MODEL} takes no {what}; leave it out or ask another model.")


class ExtractiveModel:
    """Implements `domain.ports.models.ModelProvider` with the embedded models: quotations, and lexical embeddings."""

    def __init__(self, name: str = EMBEDDED_PROVIDER, config: ProviderConfig | None = None, api_key: str | None = None) -> None:
        """It needs no configuration and no key."""
        del config, api_key
        self.name: Final = name
        self.vendor: Final = EMBEDDED_PROVIDER
        self.external: Final = False

    async def complete(self, model: str, request: CompletionRequest) -> Completion:
        """Quotes from the request. Works in a thread, so that a large document does not hold up the event loop.

        Raises UnsupportedByModel.
        """
        _require(model, EMBEDDED_MODEL)
        _require_plain(request)
        return await asyncio.to_thread(answer, request)

    async def stream(self, model: str, request: CompletionRequest) -> AsyncIterator[TextDelta | Completion]:
        """The same, line by line. Raises UnsupportedByModel."""
        whole = await self.complete(model, request)
        for line in whole.text.splitlines(keepends=True):
            yield TextDelta(text=line)
        yield whole

    async def embed(self, model: str, request: EmbeddingRequest) -> Embedding:
        """One lexical vector a text. Raises UnsupportedByModel."""
        _require(model, EMBEDDED_EMBEDDINGS)
        return await asyncio.to_thread(vectors, request)

    async def close(self) -> None:
        """Holds nothing."""


def _require(model: str, able: str) -> None:
    if model != able:
        raise UnsupportedByModel(f"{model} cannot do this; {able} can.")
