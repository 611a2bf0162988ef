"""Errors as OpenAI's clients read them: `{"error": {message, type, param, code}}` on the paths they know.

Their clients try again on 408, 409, 429 and 5xx unless `x-should-retry` says no; whether that helps, our errors know.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final, cast

from fastapi.exceptions import RequestValidationError
from pydantic import Field

from domain.base import Contract
from domain.errors import (
    BudgetExhausted,
    Denied,
    DomainError,
    Forbidden,
    InvalidRequest,
    ModelBadRequest,
    ModelContentFiltered,
    ModelContextExceeded,
    TooManyRequests,
    Unauthenticated,
    UnknownModel,
)

PATHS: Final = ("/v1/chat/completions", "/v1/responses", "/v1/embeddings", "/v1/models")
_INVALID: Final = "invalid_request_error"
_CODES: Final[dict[type[DomainError], str]] = {
    Unauthenticated: "invalid_api_key",
    UnknownModel: "model_not_found",
    TooManyRequests: "rate_limit_exceeded",
    ModelContextExceeded: "context_length_exceeded",
    ModelContentFiltered: "content_filter",
}
_STATUSES: Final[dict[type[DomainError], int]] = {ModelContextExceeded: 400, ModelContentFiltered: 400, ModelBadRequest: 400}
"""Vendors' answers to what the caller wrote: there it is the caller's request that is bad, not a gateway."""

_POINTER_STEP: Final = re.compile(r"/([^/]*)")
_OUR_MESSAGE: Final = re.compile(r"^messages\[(\d+)\]: (.*)\Z", re.DOTALL)
_VALUE_ERROR: Final = "Value error, "


class OpenAIError(Contract):
    """What is wrong. `param` is the member at fault, as `messages[0].content`."""

    message: str = Field(examples=["No such model is configured; GET /v1/models lists what there is."])
    type: str = Field(examples=[_INVALID])
    param: str | None = Field(examples=["model"])
    code: str | None = Field(examples=["model_not_found"])


class OpenAIErrorEnvelope(Contract):
    """The body of every error on OpenAI's paths."""

    error: OpenAIError


def speaks_openai(path: str) -> bool:
    """Whether an address answers in OpenAI's words."""
    return any(path == known or path.startswith(f"{known}/") for known in PATHS)


def refused(message: str, param: str | None = None) -> InvalidRequest:
    """A request that cannot be served as it stands; `param` is the member at fault."""
    return InvalidRequest(message, param=param)


def openai_errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route: these statuses answer with OpenAI's envelope."""
    return {status: {"model": OpenAIErrorEnvelope, "description": "Error"} for status in statuses}


@contextmanager
def located(name: str, origins: Sequence[int] = ()) -> Generator[None]:
    """Says where in the caller's body a check of ours found something: it counts our messages, and `origins` maps them back."""
    try:
        yield
    except InvalidRequest as error:
        found = _OUR_MESSAGE.match(error.detail)
        param = f"{name}[{origins[int(found[1])]}]" if found else name
        raise refused(f"{param}: {found[2]}" if found else error.detail, param) from None


def status_of(error: DomainError) -> int:
    """The HTTP status of an error on these paths."""
    return _STATUSES.get(type(error), error.status)


def envelope(error: DomainError) -> OpenAIErrorEnvelope:
    """The error as a body."""
    return OpenAIErrorEnvelope(
        error=OpenAIError(message=_message(error), type=_type(error), param=_param(error), code=_code(error))
    )


def headers_of(error: DomainError, retry_seconds: int) -> dict[str, str]:
    """`x-should-retry`, and `Retry-After` where that is yes; `retry_seconds` where the error names no time."""
    if not error.retryable and error.retry_after is None:
        return {"x-should-retry": "false"}
    after = retry_seconds if error.retry_after is None else max(1, math.ceil(error.retry_after))
    return {"x-should-retry": "true", "Retry-After": str(after)}


def validation_error(error: RequestValidationError) -> InvalidRequest:
    """The fault that lies deepest in the body, since a choice between shapes reports one for every shape."""
    faults = cast("Sequence[dict[str, Any]]", error.errors())
    placed = [(_place(fault, error.body), fault) for fault in faults]
    place, fault = max(placed, key=lambda each: len(each[0]))
    param = _joined(place) or None
    if fault["type"] == "extra_forbidden":
        return refused(f"Unrecognized request argument supplied: {param}.", param)
    if fault["type"] == "missing":
        return refused(f"Missing required parameter: {param}.", param)
    told = str(fault["msg"]).removeprefix(_VALUE_ERROR)
    # This one message of pydantic quotes the input.
    if fault["type"] == "union_tag_invalid":
        told = f"Expected one of {fault['ctx']['expected_tags']}"
    return refused(f"Invalid value for {param or 'the body'}: {told.rstrip('.')}.", param)


def _place(fault: dict[str, Any], body: Any) -> list[int | str]:
    """The path of a fault in the body: `loc` without the names of shapes, which pydantic puts between."""
    first, *steps = fault["loc"]
    if first != "body":
        return [str(step) for step in fault["loc"]]
    found: list[int | str] = []
    value: Any = body
    for number, step in enumerate(steps):
        absent = fault["type"] == "missing" and number == len(steps) - 1
        if isinstance(value, dict) and (step in value or absent):
            value = cast("dict[Any, Any]", value).get(step)
        elif isinstance(value, list) and isinstance(step, int) and step < len(cast("list[Any]", value)):
            value = cast("list[Any]", value)[step]
        else:
            continue
        found.append(step)
    return found


def _joined(place: Sequence[int | str]) -> str:
    parts = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:64]}" for step in place)
    return parts.removeprefix(".")


def _param(error: DomainError) -> str | None:
    if isinstance(error, UnknownModel):
        return "model"
    if "param" in error.members:
        return error.members["param"]
    for fault in error.members.get("errors") or ():
        if pointer := fault.get("pointer"):
            steps = (step.replace("~1", "/").replace("~0", "~") for step in _POINTER_STEP.findall(pointer))
            return _joined([int(step) if step.isdecimal() else step for step in steps]) or None
        return fault.get("parameter")
    return None


def _message(error: DomainError) -> str:
    if isinstance(error, Denied) and (reasons := error.members.get("reasons")):
        told = "; ".join(str(reason["message"]).rstrip(".") for reason in reasons if "message" in reason)
        return f"The gate refused this: {told}." if told else error.detail
    return error.detail


def _type(error: DomainError) -> str:
    match error:
        case BudgetExhausted():
            return "insufficient_quota"
        case TooManyRequests():
            return "requests"
        case Forbidden():
            return "permission_error"
        case _:
            return _INVALID if status_of(error) < 500 else "server_error"


def _code(error: DomainError) -> str | None:
    if type(error) is InvalidRequest:
        return None
    return _CODES.get(type(error), error.type.replace("-", "_"))
