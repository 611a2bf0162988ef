"""Embeddings: from OpenAI's body to our input, and from a request as it reads to OpenAI's answer. Pure."""

from __future__ import annotations

import base64
import struct
from typing import Annotated, Final, Literal

from pydantic import Field

from api.edge_types import CleanText
from api.openai_surface.answers import Provenance, answered_by, provenance
from api.openai_surface.shapes import Ignored, ModelName, Whole
from domain.base import Contract, Count
from domain.slm import EmbeddingInput, SlmView

_MOST: Final = struct.unpack("<f", b"\xff\xff\x7f\x7f")[0]
"""The largest number 32 bits hold."""

Text = Annotated[CleanText, Field(min_length=1)]


class EmbeddingBody(Contract):
    """Texts to embed. Lists of tokens are refused: which tokenizer made them is nothing anybody says."""

    model: ModelName
    input: Text | Annotated[tuple[Text, ...], Field(min_length=1, max_length=2048)]
    encoding_format: Literal["float", "base64"] | None = Field(
        default=None, description="`base64`: little-endian 32-bit floats; `float` unless it is named."
    )
    dimensions: Annotated[Whole, Field(ge=1, le=8192)] | None = None
    user: Ignored = None


class Vector(Contract):
    """One text's vector, as numbers or in base64."""

    object: Literal["embedding"] = "embedding"
    index: Count
    embedding: tuple[float, ...] | str


class EmbeddingUsage(Contract):
    """Tokens used."""

    prompt_tokens: Count
    total_tokens: Count


class EmbeddingList(Contract):
    """One vector a text, in order."""

    object: Literal["list"] = "list"
    data: tuple[Vector, ...]
    model: str
    usage: EmbeddingUsage
    soma: Provenance


def embedding_input(body: EmbeddingBody) -> EmbeddingInput:
    """The input of a request."""
    texts = (body.input,) if isinstance(body.input, str) else body.input
    return EmbeddingInput(texts=texts, dimensions=body.dimensions)


def embedding_list(view: SlmView, body: EmbeddingBody) -> EmbeddingList:
    """The answer of a completed request."""
    encoded = body.encoding_format == "base64"
    vectors = enumerate(view.vectors or ())
    return EmbeddingList(
        data=tuple(Vector(index=index, embedding=_base64(vector) if encoded else vector) for index, vector in vectors),
        model=answered_by(view, body.model),
        usage=EmbeddingUsage(prompt_tokens=view.usage.input_tokens, total_tokens=view.usage.total),
        soma=provenance(view),
    )


def _base64(vector: tuple[float, ...]) -> str:
    narrowed = (max(-_MOST, min(_MOST, value)) for value in vector)
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *narrowed)).decode()
