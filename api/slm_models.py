"""Bodies of the model routes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from api.edge_types import CleanText
from api.session_models import Role
from domain.base import Contract, Count
from domain.forecasts import Forecast
from domain.ids import SessionId, SlmRequestId
from domain.models import ImagePart, JsonSchemaFormat
from domain.names import Lane
from domain.sessions import DEFAULT_ROLE
from domain.slm import SlmKind, SlmStatus, SlmView

Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
ModelRef = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,63}/\S{1,200}$", examples=["openai/gpt-5-mini"])]
ScopeId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.:-]{1,80}$")]


class LaneName(StrEnum):
    """Lanes a caller may choose; the safety lane is the platform's own."""

    INTERACTIVE = "interactive"
    PROJECT = "project"
    BACKGROUND = "background"
    BATCH = "batch"

    @property
    def lane(self) -> Lane:
        """As Temporal's priority."""
        return Lane[self.name]


class ToolCallBody(Contract):
    """A call of a tool in an assistant's message."""

    id: Annotated[str, Field(pattern=r"^\S{1,200}$")]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    arguments: CleanText = ""


class MessageIn(Contract):
    """One message of a conversation."""

    role: Literal["system", "user", "assistant", "tool"]
    content: CleanText = ""
    images: tuple[ImagePart, ...] = Field(default=(), max_length=16)
    tool_calls: tuple[ToolCallBody, ...] = Field(default=(), max_length=128)
    tool_call_id: Annotated[str, Field(pattern=r"^\S{1,200}$")] | None = None


class ToolBody(Contract):
    """A tool the model may ask for; `parameters` is a JSON Schema of an object."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    description: CleanText = ""
    parameters: dict[str, Any] = Field(default_factory=dict)
    strict: bool = False


class SettingsBody(Contract):
    """How the model is to answer; what is left out is left to the role's profile, or to the model."""

    temperature: Annotated[Number, Field(ge=0, le=2)] | None = None
    top_p: Annotated[Number, Field(gt=0, le=1)] | None = None
    stop: tuple[CleanText, ...] = Field(default=(), max_length=4)
    seed: Annotated[Whole, Field(ge=-(2**53) + 1, le=2**53 - 1)] | None = None
    presence_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None
    frequency_penalty: Annotated[Number, Field(ge=-2, le=2)] | None = None


class CallBody(Contract):
    """What every model call may say: which model, in which lane, on whose budget."""

    role: Role = DEFAULT_ROLE
    model: ModelRef | None = Field(default=None, description="Pins a model, and so rules fallbacks out.")
    lane: LaneName = LaneName.INTERACTIVE
    session_id: SessionId | None = Field(default=None, description="Whose budgets pay as well.")
    project_id: ScopeId | None = None
    installation_id: ScopeId | None = None
    deadline_seconds: Annotated[Whole, Field(ge=1, le=86_400)] = 900
    on_exhausted: Literal["stop", "ask"] = Field(
        default="stop", description="`ask`: without room in a budget the request waits, and goes on after `resume`."
    )


class CompleteBody(CallBody):
    """A conversation to go on with; `prompt` is short for one user message."""

    prompt: CleanText | None = Field(default=None, examples=["Summarise: the harbour was built in 1911."])
    messages: tuple[MessageIn, ...] = Field(default=(), max_length=1000)
    settings: SettingsBody = SettingsBody()
    tools: tuple[ToolBody, ...] = Field(default=(), max_length=128)
    tool_choice: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")] = Field(
        default="auto", description="`auto`, `none`, `required`, or the name of the one tool to call."
    )
    parallel_tool_calls: bool = True
    format: JsonSchemaFormat | None = Field(default=None, description="The answer is JSON, of this schema where one is given.")
    max_output_tokens: Annotated[Whole, Field(ge=1, le=1_000_000)] = 1024


class EmbedBody(CallBody):
    """Texts to embed."""

    role: Role = "embeddings"
    texts: tuple[Annotated[CleanText, Field(min_length=1)], ...] = Field(min_length=1, max_length=2048)
    dimensions: Annotated[Whole, Field(ge=1, le=8192)] | None = None


class RequestBody(CompleteBody):
    """A request for the queue: a completion, or with `texts` an embedding."""

    texts: tuple[Annotated[CleanText, Field(min_length=1)], ...] = Field(default=(), max_length=2048)
    dimensions: Annotated[Whole, Field(ge=1, le=8192)] | None = None
    stream: bool = Field(default=False, description="The answer can be read at the request's `/stream` while it is written.")


class Queued(Contract):
    """A queued request. `position` hints at how many of the tenant's requests come before it."""

    request_id: SlmRequestId
    workflow_id: str
    status: SlmStatus
    kind: SlmKind
    lane: str
    position: Count
    forecast_tokens: Count
    url: str


class SlmPage(Contract):
    """Model requests, newest first, without their answers."""

    requests: tuple[SlmView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


class ForecastAnswer(Contract):
    """What a call will use, guessed before it runs; `cost_micros` is of the model that would be asked first."""

    forecast: Forecast
    bound_tokens: Count = Field(description="What its reservation would hold.")
    model: str
    cost_micros: Count | None
    low_cost_micros: Count | None
    high_cost_micros: Count | None
    bound_micros: Count | None
    currency: str | None
    price_snapshot: str | None


class RoleView(Contract):
    """A role as it is configured for the caller: its models, best first."""

    role: str
    models: tuple[str, ...]
    max_output_tokens: Count


class Roles(Contract):
    """Every role."""

    roles: tuple[RoleView, ...]
