"""What enters a history: no field that is named like a secret, and none that holds a text."""

from __future__ import annotations

import typing
from collections.abc import Iterator
from enum import Enum

import pytest
from pydantic import BaseModel

from domain.api_keys import ApiKeyInput, ApiKeyOutcome, ApiKeyRevocationInput
from domain.base import Contract
from domain.budgets import ReviewModel, SetBudget, SweepCall, SweepOutcome
from domain.clients import ClientChangeInput, ClientDisablingInput, ClientInput, ClientOutcome, ClientRotationInput
from domain.decisions import Decision, Resolution
from domain.documents import DocumentDeletion, DocumentInput, DocumentView
from domain.kill_switches import EnforceCall, Enforced, ReleaseCall
from domain.memory import RecallCall, RecallOutcome, RememberCall, Remembered
from domain.models import SlmAnswer, SlmCall
from domain.policy_replays import CloseReplayCall, PolicyReplayInput, ReplayPartOutcome
from domain.policy_sets import PolicySetActivationInput, PolicySetInput
from domain.reconciling import ReconcileCall, Reconciled
from domain.revocations import RevocationInput
from domain.roles import RoleDeletionInput, RoleInput, RoleReplacementInput
from domain.routing import Route
from domain.sessions import (
    CancelOutcome,
    CloseCall,
    CloseTurnCall,
    OpenCall,
    OpenTurnCall,
    QueueCall,
    ResolveCall,
    ResolveOutcome,
    ResolveRequest,
    ReviewCall,
    RunTurnCall,
    SendOutcome,
    SendRequest,
    SessionInput,
    StartOutcome,
)
from domain.slm import CloseSlmCall, OpenedSlm, OpenSlmCall, PlanCall, SlmMove, SlmRequestInput
from domain.tenants import TenantChangeInput, TenantDeletionInput, TenantInput, TenantOutcome
from domain.two_key import TwoKeyApprovalInput, TwoKeyInput, TwoKeyWithdrawalInput
from domain.users import (
    UserActivationInput,
    UserChangeInput,
    UserDeletionInput,
    UserInput,
    UserInvitationInput,
    UserInvitationOutcome,
)

PAYLOADS: tuple[type[Contract], ...] = (
    ApiKeyInput,
    ApiKeyOutcome,
    ApiKeyRevocationInput,
    RevocationInput,
    EnforceCall,
    Enforced,
    ReleaseCall,
    *(PolicySetInput, PolicySetActivationInput, PolicyReplayInput, ReplayPartOutcome, CloseReplayCall),
    *(RoleInput, RoleReplacementInput, RoleDeletionInput),
    *(ClientInput, ClientOutcome, ClientChangeInput, ClientRotationInput, ClientDisablingInput),
    *(TenantInput, TenantOutcome, TenantChangeInput, TenantDeletionInput),
    UserActivationInput,
    UserChangeInput,
    UserDeletionInput,
    UserInput,
    UserInvitationInput,
    UserInvitationOutcome,
    TwoKeyApprovalInput,
    TwoKeyInput,
    TwoKeyWithdrawalInput,
    CancelOutcome,
    CloseCall,
    CloseTurnCall,
    Decision,
    DocumentDeletion,
    DocumentInput,
    DocumentView,
    OpenCall,
    OpenTurnCall,
    RecallCall,
    RecallOutcome,
    RememberCall,
    Remembered,
    ResolveCall,
    Resolution,
    ResolveOutcome,
    ResolveRequest,
    ReviewCall,
    RunTurnCall,
    SendOutcome,
    SendRequest,
    SessionInput,
    SlmAnswer,
    SlmCall,
    StartOutcome,
    QueueCall,
    CloseSlmCall,
    OpenedSlm,
    OpenSlmCall,
    PlanCall,
    ReconcileCall,
    Reconciled,
    ReviewModel,
    Route,
    SetBudget,
    SlmMove,
    SlmRequestInput,
    SweepCall,
    SweepOutcome,
)
SECRET = ("token", "secret", "password", "authorization", "api_key", "private", "credential")
TEXT = {"text", "content", "reply", "prompt", "message", "answer", "question", "body"}
# Sentences of ours, not of a user.
OURS = {("Reason", "message")}


def models(annotation: object) -> Iterator[type[BaseModel]]:
    """Every model within an annotation."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in typing.get_args(annotation):
        yield from models(inner)


def closure(model: type[BaseModel], seen: set[type[BaseModel]]) -> set[type[BaseModel]]:
    """The model and every model it holds."""
    if model not in seen:
        seen.add(model)
        for field in model.model_fields.values():
            for inner in models(field.annotation):
                closure(inner, seen)
    return seen


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.__name__)
def test_payload_holds_no_secret_and_no_text(payload: type[Contract]) -> None:
    for model in closure(payload, set()):
        for name, field in model.model_fields.items():
            counts_tokens = name == "tokens" or name.endswith("_tokens")
            assert counts_tokens or not any(word in name for word in SECRET), f"{model.__name__}.{name} is named like a secret"
            holds_string = any(
                inner is str or (isinstance(inner, type) and issubclass(inner, str) and not issubclass(inner, Enum))
                for inner in (field.annotation, *typing.get_args(field.annotation))
            )
            if name in TEXT and (model.__name__, name) not in OURS:
                assert not holds_string, f"{model.__name__}.{name} would carry a text into a history; pass a BlobRef"
            assert typing.get_origin(field.annotation) is not typing.Any


def test_every_payload_of_a_workflow_is_checked_here() -> None:
    """Every model that workflows/ name in a call or signature stands in the list above."""
    import ast

    from invariants.sources import files, tree

    named = {
        alias.name
        for path in files("workflows")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("domain.")
        for alias in node.names
        if alias.name.endswith(("Call", "Input", "Outcome", "Request", "Deletion", "Answer", "View"))
    }
    named -= {"GateRequest"}
    assert named <= {payload.__name__ for payload in PAYLOADS}, "Add the new payload to PAYLOADS."
