"""How much a call can use at most, before anybody is asked: what its reservation holds.

No tokenizer makes more tokens than a text has bytes in UTF-8, and the output limit is always sent.
"""

from __future__ import annotations

import json
from typing import Final

from domain.models import ChatMessage, CompletionRequest, EmbeddingRequest, SourceText

TOKENS_PER_MESSAGE: Final = 16
"""What a chat format adds to a message, at most."""
TOKENS_PER_IMAGE: Final = 6_000
"""The vendors' own tables stay below it for the sizes they take."""
TOKENS_PER_SOURCE: Final = 128
TOKENS_PER_TOOL: Final = 64
TOKENS_PER_CALL: Final = 1_024
"""What an adapter or a vendor adds to a call once: the words around the sources, the preamble of tools."""


def completion_input_bound(request: CompletionRequest) -> int:
    """Input tokens of a completion, at most."""
    return (
        TOKENS_PER_CALL
        + sum(map(_message, request.messages))
        + sum(map(_source, request.sources))
        + sum(TOKENS_PER_TOOL + _bytes(tool.model_dump_json()) for tool in request.tools)
        + (_bytes(request.format.model_dump_json()) if request.format else 0)
    )


def embedding_input_bound(request: EmbeddingRequest) -> int:
    """Input tokens of an embedding, at most."""
    return sum(TOKENS_PER_MESSAGE + _bytes(text) for text in request.texts)


def rough_bound(input_bytes: int, messages: int, images: int) -> int:
    """The same from sizes alone, for a request whose texts are not at hand."""
    return TOKENS_PER_CALL + input_bytes + messages * TOKENS_PER_MESSAGE + images * TOKENS_PER_IMAGE


def _message(message: ChatMessage) -> int:
    calls = json.dumps([call.model_dump() for call in message.tool_calls]) if message.tool_calls else ""
    return TOKENS_PER_MESSAGE + _bytes(message.content) + _bytes(calls) + len(message.images) * TOKENS_PER_IMAGE


def _source(source: SourceText) -> int:
    return TOKENS_PER_SOURCE + _bytes(source.title) + _bytes(source.text)


def _bytes(text: str) -> int:
    return len(text.encode())
