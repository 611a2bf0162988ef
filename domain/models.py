"""A model call: what a provider is asked, what it answers, and the record every call leaves."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import ConfigDict, Field

from domain.actors import Actor
from domain.base import Contract, Count, UtcTime
from domain.blobs import BlobRef
from domain.budgets import BudgetKey, Settlement
from domain.ids import DocumentId, SessionId, SlmRequestId, TurnId
from domain.names import Lane
from domain.sessions import Citation, Usage


class ImagePart(Contract):
    """An image a message shows, as bytes in base64; addresses are never followed."""

    media_type: Literal["image/png", "image/jpeg", "image/gif", "image/webp"]
    data: str = Field(pattern=r"^[A-Za-z0-9+/]+={0,2}$")


class ToolCall(Contract):
    """A call of a tool that the model asks for. `arguments` is the JSON text it wrote, valid or not."""

    id: str
    name: str
    arguments: str


class ChatMessage(Contract):
    """One message of the conversation, in the roles of OpenAI's chat format. `source` names the document or turn it is from."""

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    source: str | None = None
    images: tuple[ImagePart, ...] = ()
    """Of a user; shown after the text."""
    tool_calls: tuple[ToolCall, ...] = ()
    """Of an assistant."""
    tool_call_id: str | None = None
    """Of a tool: which call it answers."""


class SourceText(Contract):
    """A text an answer may be drawn from; `source` is a document or turn id, or a memory's key."""

    source: str
    title: str
    text: str


class ToolDefinition(Contract):
    """A tool the model may ask for; `parameters` is a JSON Schema of an object."""

    name: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    description: str = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    strict: bool = False


class JsonSchemaFormat(Contract):
    """The answer must be JSON of this schema; without one, any JSON object."""

    name: str = Field(default="answer", pattern=r"^[A-Za-z0-9_-]{1,64}$")
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool = False

    model_config = ConfigDict(validate_by_name=True, validate_by_alias=True, serialize_by_alias=True)


class ModelSettings(Contract):
    """How the model is to answer; what is none is left to the model."""

    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    stop: tuple[str, ...] = Field(default=(), max_length=4)
    seed: int | None = None
    presence_penalty: float | None = Field(default=None, ge=-2, le=2)
    frequency_penalty: float | None = Field(default=None, ge=-2, le=2)


class CompletionRequest(Contract):
    """What a provider is asked. `messages` end with the user's or a tool's; `sources` are the documents and recalled memories."""

    messages: tuple[ChatMessage, ...] = Field(min_length=1)
    sources: tuple[SourceText, ...] = ()
    max_output_tokens: int = Field(default=1024, ge=1)
    idempotency_key: str
    settings: ModelSettings = ModelSettings()
    tools: tuple[ToolDefinition, ...] = ()
    tool_choice: Literal["auto", "none", "required"] | str = "auto"
    """Or the name of the one tool to call."""
    parallel_tool_calls: bool = True
    format: JsonSchemaFormat | None = None


class FinishReason(StrEnum):
    """Why an answer ended, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class Completion(Contract):
    """What a provider answered. `citations` are verbatim spans, where the provider knows them."""

    text: str
    model: str
    usage: Usage
    citations: tuple[Citation, ...] = ()
    finish_reason: str = "stop"
    tool_calls: tuple[ToolCall, ...] = ()


class TextDelta(Contract):
    """A piece of an answer that is being written."""

    text: str


class EmbeddingRequest(Contract):
    """Texts to embed; `dimensions` where the model can shorten its vectors."""

    texts: tuple[str, ...] = Field(min_length=1, max_length=2048)
    dimensions: int | None = Field(default=None, ge=1, le=8192)
    idempotency_key: str


class Embedding(Contract):
    """One vector a text, in order."""

    vectors: tuple[tuple[float, ...], ...]
    model: str
    usage: Usage


class Capability(StrEnum):
    """What a model can do beyond answering a text with a text."""

    STREAM = "stream"
    TOOLS = "tools"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    IMAGES = "images"
    EMBEDDINGS = "embeddings"
    SOURCES = "sources"
    """Quotes from given sources with offsets."""


class Candidate(Contract):
    """One model of one configured provider."""

    provider: str
    model: str

    def __str__(self) -> str:
        """`provider/model`, as callers name it."""
        return f"{self.provider}/{self.model}"


class CallOutcome(StrEnum):
    """How an attempt ended. `unknown`: its process died between sending and recording, so it may have been paid for."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


class SlmCall(Contract):
    """Argument of `slm.complete` and `slm.embed`: everything by reference.

    A session's turn names its message, documents and recollection; a model request of its own names its `input`, a ChatInput
    or an EmbeddingInput. `candidate` is the one model to ask; without it, the first of the role.
    """

    actor: Actor
    session_id: SessionId | None = None
    turn_id: TurnId | None = None
    role: str
    message: BlobRef | None = None
    documents: tuple[DocumentId, ...] = ()
    recalled: BlobRef | None = None
    request_id: SlmRequestId | None = None
    input: BlobRef | None = None
    transformed: BlobRef | None = None
    """Texts that take the place of the input's, after the gate changed them."""
    candidate: Candidate | None = None
    number: Count = 0
    """Which candidate of this step it is, from 0: part of the step's key, so that each has a journal entry of its own."""
    last: bool = True
    """No other candidate is left, so waiting for this one is worth while."""
    lane: Lane = Lane.INTERACTIVE
    keys: tuple[BudgetKey, ...] = ()
    forecast_tokens: Count = 0
    stream: bool = False


class SlmAnswer(Contract):
    """Result of `slm.complete`: the reply by reference, and what it cost."""

    reply: BlobRef
    provider: str
    model: str
    fallback: bool
    usage: Usage
    citations: tuple[Citation, ...] = ()
    finish_reason: str = "stop"
    message: BlobRef | None = None
    """The assistant's whole message as JSON (a ChatMessage), where it is more than its text."""
    attempt: int = 1
    cost_micros: Count | None = None
    currency: str | None = None
    price_snapshot: str | None = None
    overrun_tokens: Count = 0
    budgets: tuple[str, ...] = ()
    """Ids of the budgets that paid."""


class CallRecord(Contract):
    """The record of one attempt, on `slm.metrics`. Milliseconds and tokens are whole numbers."""

    tenant_id: str
    session_id: str | None
    turn_id: str | None = None
    workflow_id: str
    step_key: str
    role: str
    provider: str
    model: str
    attempt: int
    outcome: CallOutcome
    input_tokens: Count = 0
    output_tokens: Count = 0
    latency_ms: Count = 0
    queue_wait_ms: Count = 0
    error_type: str | None = None
    at: UtcTime
    request_id: str | None = None
    subject: str | None = None
    lane: str = "interactive"
    input_bytes: Count = 0
    forecast_tokens: Count = 0
    settlement: Settlement | None = None
    """What became of the attempt's reservation; none while it runs."""
    cost_micros: Count | None = None
    currency: str | None = None
    price_snapshot: str | None = None
    overrun_tokens: Count = 0
    first_token_ms: Count | None = None
    region: str | None = None
    sent_ms: Count | None = None
    """From before its reservation was asked for until it was sent; none for what was not sent, or by a process that died."""
