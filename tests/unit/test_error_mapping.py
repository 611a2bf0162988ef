"""Errors of libraries as errors of our tree: by type, never by the text of a message."""

from __future__ import annotations

import pytest
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from temporalio.client import WorkflowUpdateFailedError, WorkflowUpdateRPCTimeoutOrCancelledError
from temporalio.exceptions import ApplicationError, WorkflowAlreadyStartedError
from temporalio.service import RPCError, RPCStatusCode

from api.problems import as_domain_error
from domain.errors import ERRORS, DomainError, SessionClosed


def rpc(status: RPCStatusCode) -> RPCError:
    return RPCError("not-found", status, b"")


def updated(type_: str | None) -> WorkflowUpdateFailedError:
    return WorkflowUpdateFailedError(ApplicationError("One sentence.", type=type_))


@pytest.mark.parametrize(
    ("error", "type_"),
    [
        (SessionClosed("It is closed."), "session-closed"),
        (rpc(RPCStatusCode.NOT_FOUND), "not-found"),
        (rpc(RPCStatusCode.RESOURCE_EXHAUSTED), "too-many-requests"),
        (rpc(RPCStatusCode.FAILED_PRECONDITION), "dependency-unavailable"),
        (rpc(RPCStatusCode.UNAVAILABLE), "dependency-unavailable"),
        (rpc(RPCStatusCode.DEADLINE_EXCEEDED), "dependency-unavailable"),
        (rpc(RPCStatusCode.CANCELLED), "dependency-unavailable"),
        (rpc(RPCStatusCode.UNKNOWN), "dependency-unavailable"),
        (rpc(RPCStatusCode.INTERNAL), "dependency-unavailable"),
        (rpc(RPCStatusCode.INVALID_ARGUMENT), "internal-error"),
        (WorkflowUpdateRPCTimeoutOrCancelledError(), "dependency-unavailable"),
        (TimeoutError(), "dependency-unavailable"),
        (WorkflowAlreadyStartedError("session/demo/x", "session"), "conflict"),
        (updated("session-closed"), "session-closed"),
        (updated("ValueError"), "internal-error"),
        (updated(None), "internal-error"),
        (WorkflowUpdateFailedError(RuntimeError("denied")), "internal-error"),
        (HTTPException(404), "not-found"),
        (HTTPException(405), "method-not-allowed"),
        (HTTPException(413), "too-large"),
        (HTTPException(418), "invalid-request"),
        (HTTPException(502), "upstream-failed"),
        (
            RequestValidationError([{"type": "missing", "loc": ("header", "Idempotency-Key"), "msg": "", "input": None}]),
            "missing-idempotency-key",
        ),
        (RequestValidationError([{"type": "missing", "loc": ("body",), "msg": "", "input": None}]), "invalid-request"),
    ],
)
def test_each_becomes_its_problem(error: Exception, type_: str) -> None:
    found = as_domain_error(error)
    assert type(found) is ERRORS[type_]


@pytest.mark.parametrize("error", [RuntimeError("x"), KeyError("x"), ConnectionResetError()])
def test_what_nobody_expected_is_not_guessed_at(error: Exception) -> None:
    assert as_domain_error(error) is None


def test_an_update_keeps_its_sentence() -> None:
    assert isinstance(found := as_domain_error(updated("denied")), DomainError)
    assert found.detail == "One sentence."


def test_a_discriminator_is_not_quoted() -> None:
    fault = {
        "type": "union_tag_invalid",
        "loc": ("body", "kind"),
        "msg": "Input tag 'MARKER' found",
        "input": "MARKER",
        "ctx": {"tag": "MARKER", "expected_tags": "'a', 'b'"},
    }
    found = as_domain_error(RequestValidationError([fault]))
    assert isinstance(found, DomainError)
    assert found.members["errors"] == [{"pointer": "#/kind", "detail": "Expected one of 'a', 'b'"}]
