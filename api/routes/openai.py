"""OpenAI's paths: chat completions, responses, embeddings, models. Behind each answer is a durable model request."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import Header, Request
from fastapi.responses import Response

from api.auth import ServicesDependency, require
from api.event_streams import events_described
from api.openai_surface import chat, embeddings, listing, responses
from api.openai_surface.calls import Call, answered
from api.openai_surface.chat_models import ChatCompletionBody
from api.openai_surface.chat_stream import ChatStream
from api.openai_surface.errors import openai_errors
from api.openai_surface.responses_input import response_input
from api.openai_surface.responses_models import ResponseBody
from api.openai_surface.responses_stream import ResponseStream
from api.openai_surface.streaming import streamed
from api.routing import MIB, body_limit, edge_router
from api.services import Services
from domain.actors import Actor
from domain.names import Scope
from domain.sessions import DEFAULT_ROLE

router = edge_router("openai")

_EMBEDDINGS: Final = "embeddings"
_BODY: Final = body_limit(8 * MIB)
_ERRORS: Final = openai_errors(400, 401, 402, 403, 404, 409, 413, 415, 422, 429, 502, 503)

Caller = Annotated[Actor, require(Scope.SLM_CALL, of_path=False)]
Reader = Annotated[Actor, require(Scope.SLM_CALL)]
OptionalKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,255}$",
        description="Optional here. Sent again within 24 hours with the same body it gets the same answer, paid for once; "
        "without one each request is a request of its own.",
        examples=["5f3c1f0e-7a52-4c3c-9d4e-2f1d9b0b6a11"],
    ),
]


def _also_streams(example: str) -> dict[int | str, dict[str, Any]]:
    return {
        200: {
            "description": "The answer, or with `stream` its events",
            "content": events_described("JSON, and `[DONE]` at the end", example),
        }
    }


@router.post(
    "/v1/chat/completions",
    summary="Create a chat completion",
    response_model=chat.ChatCompletion,
    dependencies=[_BODY],
    responses=_also_streams('data: {"object":"chat.completion.chunk"}\n\n') | _ERRORS,
)
async def create_chat_completion(
    body: ChatCompletionBody, request: Request, services: ServicesDependency, actor: Caller, key: OptionalKey = None
) -> Response:
    """Answers as OpenAI's chat completions do, in one piece or as a stream."""
    meant = _named(services, actor, body.model, DEFAULT_ROLE)
    call = Call(
        request=request,
        services=services,
        actor=actor,
        key=key,
        body=body,
        meant=meant,
        asked=chat.chat_input(body, _default_tokens(services, actor, meant)),
        cancel_on_disconnect=body.cancel_on_disconnect,
    )
    if body.stream:
        usage = body.stream_options is not None and body.stream_options.include_usage is True
        return await streamed(call, lambda view: ChatStream(view, body.model, include_usage=usage))
    return await answered(call, lambda view: chat.completion(view, body.model))


@router.post(
    "/v1/responses",
    summary="Create a response",
    response_model=responses.ResponseObject,
    dependencies=[_BODY],
    responses=_also_streams('event: response.created\ndata: {"type":"response.created"}\n\n') | _ERRORS,
)
async def create_response(
    body: ResponseBody, request: Request, services: ServicesDependency, actor: Caller, key: OptionalKey = None
) -> Response:
    """Answers as OpenAI's Responses and Open Responses do, in one piece or as semantic events. Nothing is looked up by id."""
    meant = _named(services, actor, body.model, DEFAULT_ROLE)
    call = Call(
        request=request,
        services=services,
        actor=actor,
        key=key,
        body=body,
        meant=meant,
        asked=response_input(body, _default_tokens(services, actor, meant)),
        cancel_on_disconnect=body.cancel_on_disconnect,
    )
    if body.stream:
        return await streamed(call, lambda view: ResponseStream(view, body))
    return await answered(call, lambda view: responses.whole(view, body))


@router.post(
    "/v1/embeddings",
    summary="Create embeddings",
    response_model=embeddings.EmbeddingList,
    dependencies=[_BODY],
    responses=_ERRORS,
)
async def create_embeddings(
    body: embeddings.EmbeddingBody, request: Request, services: ServicesDependency, actor: Caller, key: OptionalKey = None
) -> Response:
    """One vector a text, as numbers or in base64."""
    call = Call(
        request=request,
        services=services,
        actor=actor,
        key=key,
        body=body,
        meant=_named(services, actor, body.model, _EMBEDDINGS),
        asked=embeddings.embedding_input(body),
    )
    return await answered(call, lambda view: embeddings.embedding_list(view, body))


@router.get("/v1/models", summary="List models and roles", responses=openai_errors(401, 403))
async def list_models(services: ServicesDependency, actor: Reader) -> listing.ModelList:
    """Every name that a request may send as `model`: roles, and models as `provider/model`."""
    return listing.listed(services.models.catalogue, actor.tenant_id, services.models.mode)


@router.get("/v1/models/{model:path}", summary="Read a model or role", responses=openai_errors(401, 403, 404))
async def read_model(model: str, services: ServicesDependency, actor: Reader) -> listing.ListedModel:
    """One of them, by any name that a request may send."""
    return listing.looked_up(services.models.catalogue, actor.tenant_id, services.models.mode, model)


def _named(services: Services, actor: Actor, name: str, default_role: str) -> listing.Named:
    return listing.named(services.models.catalogue, actor.tenant_id, services.models.mode, name, default_role)


def _default_tokens(services: Services, actor: Actor, meant: listing.Named) -> int:
    return listing.default_output_tokens(services.models.catalogue, actor.tenant_id, services.models.mode, meant)
