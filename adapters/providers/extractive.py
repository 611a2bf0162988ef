"""`soma-extractive`: the embedded model. It has no weights and invents nothing: it quotes, or says that it cannot.

It quotes from the documents, from what was recalled and from the user's earlier messages; never from answers of a model.
"""

from __future__ import annotations

import asyncio
from typing import Final

from domain.models import Completion, CompletionRequest, SourceText
from domain.sentence_ranking import Quote, best_quotes, fingerprint
from domain.sessions import Citation, Usage
from domain.terms import count_tokens

PROVIDER: Final = "soma"
MODEL: Final = "soma-extractive"
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
        model=MODEL,
        usage=Usage(input_tokens=read, output_tokens=count_tokens(text)),
        citations=tuple(Citation(source=quote.source.source, start=quote.start, end=quote.end) for quote in fitting),
        finish_reason="stop" if len(fitting) == len(quotes) else "length",
    )


class ExtractiveModel:
    """Implements `domain.ports.models.ModelProvider`."""

    @property
    def provider(self) -> str:
        """`soma`: this process itself."""
        return PROVIDER

    @property
    def model(self) -> str:
        """Named in every answer, so that nobody takes a quotation for a language model's work."""
        return MODEL

    @property
    def fallback(self) -> bool:
        """True: it answers where nothing else is configured."""
        return True

    async def complete(self, request: CompletionRequest) -> Completion:
        """Quotes from the request. Works in a thread, so that a large document does not hold up the event loop."""
        return await asyncio.to_thread(answer, request)
