"""Every error as `application/problem+json` (RFC 9457), mapped by type and never by the text of a message.

Unexpected exceptions do not come here through Starlette's own handler: the edge middleware catches them, because that
handler stands outside it and would answer without request id and headers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute, iter_route_contexts
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.context import edge_context
from api.openai_surface import errors as openai
from domain.base import Contract
from domain.errors import (
    ERRORS,
    BudgetExhausted,
    Conflict,
    DependencyUnavailable,
    DomainError,
    Forbidden,
    InvalidRequest,
    MethodNotAllowed,
    MissingIdempotencyKey,
    NotFound,
    PreconditionFailed,
    PreconditionRequired,
    TooLarge,
    TooManyRequests,
    Unauthenticated,
    Unprocessable,
    UnsupportedMediaType,
    UpstreamFailed,
)

MEDIA_TYPE: Final = "application/problem+json"
_RETRY_SECONDS: Final = {409: 1, 429: 1, 503: 2}
_BY_STATUS: Final[Mapping[int, type[DomainError]]] = {
    400: InvalidRequest,
    401: Unauthenticated,
    402: BudgetExhausted,
    403: Forbidden,
    404: NotFound,
    405: MethodNotAllowed,
    409: Conflict,
    412: PreconditionFailed,
    413: TooLarge,
    415: UnsupportedMediaType,
    422: Unprocessable,
    428: PreconditionRequired,
    429: TooManyRequests,
    502: UpstreamFailed,
    503: DependencyUnavailable,
}
# A connection that breaks under a call is `UNKNOWN` or `INTERNAL` to gRPC; the SDK tries all of these again and then gives up.
_TEMPORAL_AWAY: Final = frozenset(
    {
        RPCStatusCode.UNAVAILABLE,
        RPCStatusCode.DEADLINE_EXCEEDED,
        RPCStatusCode.CANCELLED,
        RPCStatusCode.ABORTED,
        RPCStatusCode.UNKNOWN,
        RPCStatusCode.INTERNAL,
        # A run whose last task did not come to its end takes no update until the task has been tried again.
        RPCStatusCode.FAILED_PRECONDITION,
    }
)

log = structlog.get_logger("api.problems")


class FieldError(Contract):
    """One fault of a request: `pointer` (RFC 6901) into the body, or the `parameter` of path, query or header."""

    pointer: str | None = None
    parameter: str | None = None
    detail: str


class Problem(Contract):
    """A problem document. Further members depend on the type: `GET /problems/{type}` tells of each."""

    type: str = Field(examples=["http://127.0.0.1:8080/problems/not-found"])
    title: str = Field(examples=["Not found"])
    status: int = Field(examples=[404])
    detail: str = Field(examples=["No session has that id."])
    instance: str = Field(examples=["/v1/sessions/ses_0192f0c1d2e37abc8def0123456789ab"])
    retryable: bool = Field(description="Whether the same request may succeed when sent again.", examples=[False])
    trace_id: str = Field(examples=["4bf92f3577b34da6a3ce929d0e0e4736"])
    request_id: str = Field(examples=["req_0192f0c1d2e37abc8def0123456789ab"])
    errors: tuple[FieldError, ...] | None = None


def problem_response(request: Request, error: DomainError, public_url: str) -> JSONResponse:
    """The error as an answer, with `Retry-After` where it is worth trying again; on OpenAI's paths in OpenAI's words."""
    if openai.speaks_openai(request.url.path):
        status = openai.status_of(error)
        headers = openai.headers_of(error, _RETRY_SECONDS.get(status, 1))
        return JSONResponse(openai.envelope(error).model_dump(), status, headers)
    context = edge_context(request)
    body: dict[str, Any] = {
        **error.members,
        "type": f"{public_url.rstrip('/')}/problems/{error.type}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "instance": request.scope["raw_path"].decode("latin-1"),
        "retryable": error.retryable,
        "trace_id": context.trace_id,
        "request_id": context.request_id,
    }
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    elif error.retryable:
        headers["Retry-After"] = str(_RETRY_SECONDS.get(error.status, 1))
    return JSONResponse(body, error.status, headers, MEDIA_TYPE)


def internal_error() -> DomainError:
    """What a caller is told of an exception nobody expected: nothing but where to ask."""
    return DomainError("Something went wrong on our side; ask the operator and name the trace_id.")


def _pointer(path: Iterable[int | str]) -> str:
    parts = (str(part)[:64].replace("~", "~0").replace("/", "~1") for part in path)
    return "#" + "".join(f"/{part}" for part in parts)


def _detail(error: Mapping[str, Any]) -> str:
    # This one message of pydantic quotes the input.
    if error["type"] == "union_tag_invalid":
        return f"Expected one of {error['ctx']['expected_tags']}"
    return str(error["msg"])


def _field_error(error: Mapping[str, Any]) -> FieldError:
    where: Sequence[int | str] = error["loc"]
    if where[0] == "body":
        return FieldError(pointer=_pointer(where[1:]), detail=_detail(error))
    return FieldError(parameter=".".join(str(part)[:64] for part in where), detail=_detail(error))


def _validation_problem(error: RequestValidationError) -> DomainError:
    faults: Sequence[Mapping[str, Any]] = error.errors()
    for fault in faults:
        if fault["type"] == "missing" and fault["loc"] == ("header", "Idempotency-Key"):
            return MissingIdempotencyKey("This request must carry an Idempotency-Key header: 1 to 255 visible ASCII characters.")
        if fault["type"] == "missing" and fault["loc"] == ("header", "If-Match"):
            return PreconditionRequired("Send the ETag that was read as If-Match, so that nobody's change is lost; * is any.")
    return InvalidRequest(
        "The request does not match its description; see `errors` and /openapi.json.",
        errors=[_field_error(fault).model_dump(exclude_none=True) for fault in faults[:20]],
    )


def _http_problem(error: HTTPException) -> DomainError:
    match error.status_code:
        case 404:
            return NotFound("There is nothing at this address; /openapi.json lists what there is.")
        case 405:
            return MethodNotAllowed("This address does not take that method; the Allow header names those it takes.")
        case status:
            kind = _BY_STATUS.get(status, InvalidRequest if status < 500 else DomainError)
            return kind(str(error.detail))


def _temporal_problem(error: RPCError) -> DomainError:
    if error.status is RPCStatusCode.NOT_FOUND:
        return NotFound("No such workflow is running.")
    if error.status is RPCStatusCode.RESOURCE_EXHAUSTED:
        return TooManyRequests("The workflow engine takes no more just now; try again shortly.", retry_after=1)
    if error.status in _TEMPORAL_AWAY:
        return temporal_unavailable()
    return internal_error()


def temporal_unavailable() -> DomainError:
    """Temporal did not answer in time; what was asked may still happen, and asking again is safe."""
    return DependencyUnavailable("The workflow engine does not answer; try again with the same Idempotency-Key.", retry_after=2)


def _update_problem(error: WorkflowUpdateFailedError) -> DomainError:
    cause: BaseException | None = error.cause
    while cause is not None:
        # What an activity of the update failed with stands below the activity's own error.
        if isinstance(cause, ApplicationError) and (kind := ERRORS.get(cause.type or "")) is not None:
            return kind(cause.message)
        cause = cause.__cause__
    return internal_error()


def as_domain_error(error: Exception) -> DomainError | None:
    """The error of our tree that this one means; None for what nobody expected."""
    match error:
        case DomainError():
            return error
        case RequestValidationError():
            return _validation_problem(error)
        case HTTPException():
            return _http_problem(error)
        case RPCError():
            return _temporal_problem(error)
        case WorkflowUpdateRPCTimeoutOrCancelledError() | TimeoutError():
            return temporal_unavailable()
        case WorkflowUpdateFailedError():
            return _update_problem(error)
        case WorkflowAlreadyStartedError():
            return Conflict("A workflow of that id exists already.")
        case _:
            return None


def _told(request: Request, error: Exception) -> DomainError | None:
    """As `as_domain_error`; a fault of a body on OpenAI's paths is named by its place as they name it."""
    if isinstance(error, RequestValidationError) and openai.speaks_openai(request.url.path):
        return openai.validation_error(error)
    return as_domain_error(error)


def _status_name(error: Exception) -> str | None:
    """What gRPC calls the failure; None for another. Its words are left out of logs: they may quote a request."""
    return error.status.name if isinstance(error, RPCError) else None


def install_problem_handlers(app: FastAPI, public_url: str) -> None:
    """Makes every expected error of a route a problem document."""

    async def handle(request: Request, error: Exception) -> JSONResponse:
        problem = _told(request, error) or internal_error()
        if problem.status >= 500 and problem is not error:
            log.warning("request.not.served", problem=problem.type, error=type(error).__name__, grpc=_status_name(error))
        response = problem_response(request, problem, public_url)
        if problem.status == 405:
            response.headers["Allow"] = ", ".join(_allowed_methods(app, request.url.path))
        return response

    for kind in (
        DomainError,
        RequestValidationError,
        HTTPException,
        RPCError,
        WorkflowUpdateRPCTimeoutOrCancelledError,
        WorkflowUpdateFailedError,
        WorkflowAlreadyStartedError,
        TimeoutError,
    ):
        app.add_exception_handler(kind, handle)


def _allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Of every route with that path, the most literal one: the router itself knows only the first of them."""
    routes = [context.original_route for context in iter_route_contexts(app.routes)]
    matching = [route for route in routes if isinstance(route, APIRoute) and route.path_regex.match(path)]
    fewest = min((len(route.param_convertors) for route in matching), default=0)
    return sorted({name for route in matching if len(route.param_convertors) == fewest for name in route.methods or ()})


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: these statuses answer with a problem document."""
    titles = {status: kind.title for status, kind in _BY_STATUS.items()}
    return {
        status: {
            "description": titles.get(status, "Problem"),
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for status in statuses
    }
