"""From the bodies of the model routes to what a request names: input, role, budgets, forecast."""

from __future__ import annotations

from api.services import Services
from api.slm_models import CallBody, CompleteBody, EmbedBody, ForecastAnswer, MessageIn, RequestBody, Roles, RoleView
from api.slm_requests import candidate_of, fitting, sizes_of, texts_of
from domain.actors import Actor
from domain.bounds import rough_bound
from domain.budgets import BudgetKey, BudgetScope
from domain.errors import InvalidRequest, NotFound, Unprocessable
from domain.forecasts import forecast
from domain.models import ChatMessage, ModelSettings, ToolCall, ToolDefinition
from domain.prices import cost
from domain.sessions import DEFAULT_ROLE
from domain.slm import ChatInput, EmbeddingInput

_EMBEDDINGS = "embeddings"


def asked_of(body: CompleteBody | EmbedBody) -> ChatInput | EmbeddingInput:
    """The input. Raises InvalidRequest for a conversation that no model can go on with."""
    if isinstance(body, EmbedBody):
        return EmbeddingInput(texts=body.texts, dimensions=body.dimensions)
    if isinstance(body, RequestBody) and body.texts:
        if body.messages or body.prompt is not None:
            raise InvalidRequest("Send either `texts` to embed, or `messages` or a `prompt` to answer, not both.")
        return EmbeddingInput(texts=body.texts, dimensions=body.dimensions)
    return _chat(body)


def _chat(body: CompleteBody) -> ChatInput:
    if body.messages and body.prompt is not None:
        raise InvalidRequest("Send either `messages` or a `prompt`, not both.")
    messages = tuple(map(_message, body.messages))
    if body.prompt is not None:
        messages = (ChatMessage(role="user", content=body.prompt),)
    check_conversation(messages)
    tools = tuple(ToolDefinition(**tool.model_dump()) for tool in body.tools)
    check_tools(tools, body.tool_choice)
    return ChatInput(
        messages=messages,
        settings=ModelSettings(**body.settings.model_dump(exclude_unset=True)),
        tools=tools,
        tool_choice=body.tool_choice,
        parallel_tool_calls=body.parallel_tool_calls,
        format=body.format,
        max_output_tokens=body.max_output_tokens,
    )


def _message(message: MessageIn) -> ChatMessage:
    return ChatMessage(
        role=message.role,
        content=message.content,
        images=message.images,
        tool_calls=tuple(ToolCall(**call.model_dump()) for call in message.tool_calls),
        tool_call_id=message.tool_call_id,
    )


def check_conversation(messages: tuple[ChatMessage, ...]) -> None:
    """Raises InvalidRequest unless a model can go on with it: it ends with a user's or a tool's message that says something,
    images are a user's, tool calls an assistant's, and every tool's message answers a call made before it."""
    if not messages or messages[-1].role not in ("user", "tool"):
        raise InvalidRequest("A conversation ends with a message of the user, or with a tool's answer.")
    called: set[str] = set()
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if message.images and message.role != "user":
            raise InvalidRequest(f"{where}: only a user's message shows images.")
        if message.tool_calls and message.role != "assistant":
            raise InvalidRequest(f"{where}: only an assistant's message calls tools.")
        if (message.tool_call_id is not None) is not (message.role == "tool"):
            raise InvalidRequest(f"{where}: a tool's message, and no other, names the call it answers in `tool_call_id`.")
        if message.tool_call_id is not None and message.tool_call_id not in called:
            raise InvalidRequest(f"{where}: no assistant's message before it makes the call it answers.")
        if not (message.content or message.images or message.tool_calls or message.role == "tool"):
            raise InvalidRequest(f"{where}: the message is empty.")
        called |= {call.id for call in message.tool_calls}


def check_tools(tools: tuple[ToolDefinition, ...], choice: str) -> None:
    """Raises InvalidRequest for tools that share a name, parameters that are no schema of an object, or a choice of none."""
    names = [tool.name for tool in tools]
    if len(set(names)) != len(names):
        raise InvalidRequest("Two tools have the same name.")
    for tool in tools:
        if tool.parameters and tool.parameters.get("type", "object") != "object":
            raise InvalidRequest(f"The parameters of tool {tool.name} must be a JSON Schema of type object.")
    if choice not in ("auto", "none", *names, *(("required",) if tools else ())):
        raise InvalidRequest("`tool_choice` names no tool of the request; use auto, none, required or a tool's name.")


def role_of(body: CallBody, asked: ChatInput | EmbeddingInput) -> str:
    """The role asked for; an embedding that names none is for the embeddings role."""
    embeds = isinstance(asked, EmbeddingInput)
    return _EMBEDDINGS if embeds and body.role == DEFAULT_ROLE else body.role


async def budget_keys(services: Services, actor: Actor, body: CallBody) -> tuple[BudgetKey, ...]:
    """The scopes beside the tenant whose budgets pay. Raises Unprocessable for a session that is not there."""
    if body.session_id is not None:
        try:
            await services.sessions.session(actor.tenant_id, body.session_id)
        except NotFound:
            raise Unprocessable("There is no such session; leave `session_id` out, or name one of yours.") from None
    named = (
        (BudgetScope.SESSION, body.session_id),
        (BudgetScope.PROJECT, body.project_id),
        (BudgetScope.INSTALLATION, body.installation_id),
    )
    return tuple(BudgetKey(scope=scope, scope_id=name) for scope, name in named if name is not None)


async def forecast_of(services: Services, actor: Actor, body: RequestBody) -> ForecastAnswer:
    """The forecast of a call. Raises what starting it would raise."""
    asked = asked_of(body)
    role = role_of(body, asked)
    first = fitting(services, actor, asked, role, candidate_of(body.model))[0]
    messages, images = sizes_of(asked)
    bound = rough_bound(sum(len(text.encode()) for text in texts_of(asked)), messages, images)
    output = asked.max_output_tokens if isinstance(asked, ChatInput) else 0
    history = await services.forecasts.history(actor.tenant_id, role)
    found = forecast(history.calls, bound, output)
    priced = services.models.prices.find(first.candidate, bound)

    def costs(read: int, written: int) -> int | None:
        return cost(priced.price, read, written) if priced else None

    return ForecastAnswer(
        forecast=found,
        bound_tokens=bound + output,
        model=str(first.candidate),
        cost_micros=costs(found.input_tokens, found.output_tokens),
        low_cost_micros=costs(found.input_tokens, found.low_tokens - found.input_tokens),
        high_cost_micros=costs(found.input_tokens, found.high_tokens - found.input_tokens),
        bound_micros=costs(bound, output),
        currency=priced.price.currency if priced else None,
        price_snapshot=priced.snapshot if priced else None,
    )


def roles_of(services: Services, actor: Actor) -> Roles:
    """Every role as it is configured for the caller's tenant."""
    catalogue, mode = services.models.catalogue, services.models.mode
    special = [catalogue.tenants.get(actor.tenant_id), catalogue.modes.get(mode)]
    names = sorted({*catalogue.roles, *(name for overrides in special if overrides for name in overrides.roles)})
    found = {name: catalogue.role(name, actor.tenant_id, mode) for name in names}
    return Roles(
        roles=tuple(
            RoleView(role=name, models=role.models, max_output_tokens=role.max_output_tokens) for name, role in found.items()
        )
    )
