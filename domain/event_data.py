"""The `data` of every event, one model a type: what producers write and what the AsyncAPI document describes.

Ids, numbers, codes and hashes only, never a text. A released model only ever gains fields, each with a default; anything else
is a new version of the type.
"""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Contract, Count, Sha256, TenantId, UtcTime
from domain.budgets import BudgetScope
from domain.constitution import Direction, Severity
from domain.decisions import Decision, Verdict
from domain.events import NewEvent
from domain.ids import (
    ApiKeyId,
    BudgetId,
    ClientId,
    DecisionId,
    DocumentId,
    KillSwitchId,
    PolicyReplayId,
    PolicySetId,
    RevocationId,
    RoleId,
    SessionId,
    SlmRequestId,
    TurnId,
    TwoKeyId,
    UserId,
)
from domain.kill_switches import KillSwitchScope
from domain.models import CallRecord
from domain.names import EventType, LoginFailure, Topic, TwoKeyAction
from domain.revocations import RevocationKind
from domain.sessions import SessionStatus, Usage


class EventData(Contract):
    """Base of all. `event_type` and `topic` say which event carries the model."""

    event_type: ClassVar[EventType]
    topic: ClassVar[Topic]

    @property
    def about(self) -> str:
        """The event's `subject`: the session or document it belongs to."""
        raise NotImplementedError


class ReasonCode(Contract):
    """A decision's reason without its sentence."""

    checker: str
    code: str


def reason_codes(decision: Decision) -> tuple[ReasonCode, ...]:
    """The reasons of a decision, as events carry them."""
    return tuple(ReasonCode(checker=reason.checker, code=reason.code) for reason in decision.reasons)


class OfSession(EventData):
    """An event on a session; its subject is the session's id."""

    topic: ClassVar[Topic] = Topic.SESSION_EVENTS

    session_id: SessionId

    @property
    def about(self) -> str:
        return self.session_id


class SessionStarted(OfSession):
    """A session was allowed and takes messages. `subject` is who started it; `verdict` is `escalate` after an approval."""

    event_type: ClassVar[EventType] = EventType.SESSION_STARTED

    workflow_id: str
    verdict: Verdict
    decision_id: DecisionId
    subject: str
    documents: tuple[DocumentId, ...] = ()
    first_turn: TurnId | None = None


class SessionDenied(OfSession):
    """A session was refused, by the gate or by an approver; it never takes a message."""

    event_type: ClassVar[EventType] = EventType.SESSION_DENIED

    workflow_id: str
    verdict: Verdict
    decision_id: DecisionId
    subject: str
    reasons: tuple[ReasonCode, ...] = ()


class SessionEscalated(OfSession):
    """A session waits for an approver."""

    event_type: ClassVar[EventType] = EventType.SESSION_ESCALATED

    workflow_id: str
    decision_id: DecisionId
    subject: str
    reasons: tuple[ReasonCode, ...] = ()


class SessionClosed(OfSession):
    """A session takes no more messages. `reason` is a code: `requested`, `idle`, `cancelled`, `refused`, `kill-switch`."""

    event_type: ClassVar[EventType] = EventType.SESSION_CLOSED

    reason: str
    status: SessionStatus = SessionStatus.CLOSED


class OfTurn(OfSession):
    """An event on one turn. `seq` is the turn's number in its session, from 1."""

    turn_id: TurnId
    seq: Count


class TurnQueued(OfTurn):
    """A message was taken and will be answered in order."""

    event_type: ClassVar[EventType] = EventType.TURN_QUEUED

    client_id: str
    message_sha256: Sha256


class TurnStarted(OfTurn):
    """A turn was allowed and runs."""

    event_type: ClassVar[EventType] = EventType.TURN_STARTED

    decision_id: DecisionId | None = None
    verdict: Verdict | None = None


class TurnEscalated(OfTurn):
    """A turn waits for an approver."""

    event_type: ClassVar[EventType] = EventType.TURN_ESCALATED

    decision_id: DecisionId
    reasons: tuple[ReasonCode, ...] = ()


class TurnDenied(OfTurn):
    """A turn was refused: its message by the gate or an approver, or its reply by moderation."""

    event_type: ClassVar[EventType] = EventType.TURN_DENIED

    decision_id: DecisionId | None = None
    reasons: tuple[ReasonCode, ...] = ()


class TurnCompleted(OfTurn):
    """A turn was answered. `fallback`: by the embedded model, since no other is configured."""

    event_type: ClassVar[EventType] = EventType.TURN_COMPLETED

    provider: str
    model: str
    fallback: bool = False
    usage: Usage = Usage()
    reply_sha256: Sha256
    citations: Count = 0


class TurnFailed(OfTurn):
    """A turn could not be answered. `error_type` is the wire type of the error (`model-unavailable`)."""

    event_type: ClassVar[EventType] = EventType.TURN_FAILED

    error_type: str


class TurnCancelled(OfTurn):
    """A turn was stopped before it was answered."""

    event_type: ClassVar[EventType] = EventType.TURN_CANCELLED


class OfDocument(EventData):
    """An event on a document; its subject is the document's id."""

    topic: ClassVar[Topic] = Topic.DOCUMENT_EVENTS

    document_id: DocumentId

    @property
    def about(self) -> str:
        return self.document_id


class DocumentAdded(OfDocument):
    """A document was stored. `sha256` and `bytes` are of what was uploaded; `characters` counts the text read from it."""

    event_type: ClassVar[EventType] = EventType.DOCUMENT_ADDED

    media_type: str
    sha256: Sha256
    bytes: Count
    characters: Count


class DocumentDeleted(OfDocument):
    """A document is gone."""

    event_type: ClassVar[EventType] = EventType.DOCUMENT_DELETED


class OfSlmRequest(EventData):
    """An event on a model request of its own; its subject is the request's id."""

    request_id: SlmRequestId

    @property
    def about(self) -> str:
        return self.request_id


class SlmRequestAccepted(OfSlmRequest):
    """A model request was decided on. `verdict` `deny` ends it; `escalate` makes it wait for an approver."""

    event_type: ClassVar[EventType] = EventType.SLM_REQUEST_ACCEPTED
    topic: ClassVar[Topic] = Topic.SLM_REQUESTS

    workflow_id: str
    kind: str
    role: str
    lane: str
    subject: str
    verdict: Verdict
    decision_id: DecisionId
    forecast_tokens: Count = 0
    input_sha256: Sha256


class SlmRequestEnded(OfSlmRequest):
    """A model request has ended. `status` is its last one; of a completed one the answer's digest and what it cost."""

    event_type: ClassVar[EventType] = EventType.SLM_REQUEST_ENDED
    topic: ClassVar[Topic] = Topic.SLM_RESPONSES

    status: str
    provider: str | None = None
    model: str | None = None
    finish_reason: str | None = None
    usage: Usage = Usage()
    cost_micros: Count | None = None
    currency: str | None = None
    price_snapshot: str | None = None
    reply_sha256: Sha256 | None = None
    error_type: str | None = None


class OfBudget(EventData):
    """An event on a budget; its subject is the budget's id. Amounts are in `unit`: tokens, or micro-units of a currency."""

    topic: ClassVar[Topic] = Topic.BUDGET_EVENTS

    budget_id: BudgetId
    scope: BudgetScope
    scope_id: str
    unit: str
    cap: Count

    @property
    def about(self) -> str:
        return self.budget_id


class BudgetSet(OfBudget):
    """A budget was made, or its cap changed."""

    event_type: ClassVar[EventType] = EventType.BUDGET_SET

    subject: str


class BudgetAlerted(OfBudget):
    """Four fifths of a budget are settled or reserved. Told once for each cap."""

    event_type: ClassVar[EventType] = EventType.BUDGET_ALERTED

    settled: Count
    reserved: Count


class BudgetExhausted(OfBudget):
    """A call was refused because its bound had no room. Told once for each cap."""

    event_type: ClassVar[EventType] = EventType.BUDGET_EXHAUSTED

    settled: Count
    reserved: Count
    wanted: Count


class BudgetOverrun(OfBudget):
    """A provider used more than the bound of a call. `uncovered` is what the cap had no room for."""

    event_type: ClassVar[EventType] = EventType.BUDGET_OVERRUN

    provider: str
    model: str
    workflow_id: str
    overrun: Count
    uncovered: Count


class ModelReviewed(EventData):
    """Somebody has looked at a model's overrun; bounded budgets pay for it again. Its subject is `provider/model`."""

    event_type: ClassVar[EventType] = EventType.MODEL_REVIEWED
    topic: ClassVar[Topic] = Topic.BUDGET_EVENTS

    provider: str
    model: str
    reviewer: str

    @property
    def about(self) -> str:
        return f"{self.provider}/{self.model}"


class OfApiKey(EventData):
    """An event on an API key; its subject is the key's id."""

    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    key_id: ApiKeyId
    client_id: str
    subject: str

    @property
    def about(self) -> str:
        return self.key_id


class ApiKeyCreated(OfApiKey):
    """An API key was made."""

    event_type: ClassVar[EventType] = EventType.API_KEY_CREATED

    scopes: tuple[str, ...]
    expires_at: UtcTime | None = None


class ApiKeyRevoked(OfApiKey):
    """An API key opens nothing any more."""

    event_type: ClassVar[EventType] = EventType.API_KEY_REVOKED


class RevocationCreated(EventData):
    """Tokens are refused from now on: those that `kind` and `value` name and that were issued at `before` or earlier."""

    event_type: ClassVar[EventType] = EventType.REVOCATION_CREATED
    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    revocation_id: RevocationId
    kind: RevocationKind
    value: str | None
    before: UtcTime
    subject: str

    @property
    def about(self) -> str:
        return self.revocation_id


class OfKillSwitch(EventData):
    """An event on a kill switch; its subject is the switch's id."""

    topic: ClassVar[Topic] = Topic.KILLSWITCH_EVENTS

    switch_id: KillSwitchId

    @property
    def about(self) -> str:
        return self.switch_id


class KillSwitchEngaged(OfKillSwitch):
    """What the switch means is stopped. `target_tenant` is null for one that means every tenant."""

    event_type: ClassVar[EventType] = EventType.KILL_SWITCH_ENGAGED

    scope: KillSwitchScope
    value: str | None
    target_tenant: str | None
    epoch: Count
    subject: str
    expires_at: UtcTime | None


class KillSwitchStated(OfKillSwitch):
    """Everything that the switch means is quiet, and its statement is signed. Times are counted from engaging it."""

    event_type: ClassVar[EventType] = EventType.KILL_SWITCH_STATED

    silence_ms: Count
    stillness_ms: Count
    runs_found: Count
    effects_found: Count
    effects_unknown: Count


class KillSwitchReleased(OfKillSwitch):
    """The switch stops nothing any more: `released_by` are the two who approved it."""

    event_type: ClassVar[EventType] = EventType.KILL_SWITCH_RELEASED

    released_by: tuple[str, ...]


class OfPolicySet(EventData):
    """An event on a policy set of the tenant's; its subject is the set's id. `subject` is who did it."""

    topic: ClassVar[Topic] = Topic.POLICY_DECISIONS

    policy_set_id: PolicySetId
    version: Count
    digest: Sha256
    subject: str

    @property
    def about(self) -> str:
        return self.policy_set_id


class PolicySetCreated(OfPolicySet):
    """A version was made; nothing is decided by it yet."""

    event_type: ClassVar[EventType] = EventType.POLICY_SET_CREATED


class PolicySetActivated(OfPolicySet):
    """A version is in force, in place of the one of `replaced_version` where there was one."""

    event_type: ClassVar[EventType] = EventType.POLICY_SET_ACTIVATED

    replaced_version: Count | None = None


class PolicySetDeactivated(OfPolicySet):
    """A version is out of force; the constitution decides alone."""

    event_type: ClassVar[EventType] = EventType.POLICY_SET_DEACTIVATED


class PolicyReplayEnded(EventData):
    """Recorded decisions were asked again. `status` is how that ended; what was counted until then stands."""

    event_type: ClassVar[EventType] = EventType.POLICY_REPLAY_ENDED
    topic: ClassVar[Topic] = Topic.POLICY_DECISIONS

    replay_id: PolicyReplayId
    status: str
    decisions: Count
    identical: Count
    changed: Count
    not_replayable: Count
    subject: str

    @property
    def about(self) -> str:
        return self.replay_id


class OfUser(EventData):
    """An event on a user; its subject is the user's id. Names and addresses are not in it."""

    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    user_id: UserId

    @property
    def about(self) -> str:
        return self.user_id


class UserCreated(OfUser):
    """A user was made and invited. `subject` is who did it."""

    event_type: ClassVar[EventType] = EventType.USER_CREATED

    roles: tuple[str, ...]
    subject: str


class UserChanged(OfUser):
    """A user was changed: `members` names what."""

    event_type: ClassVar[EventType] = EventType.USER_CHANGED

    members: tuple[str, ...]
    roles: tuple[str, ...]
    locked: bool
    version: Count
    subject: str


class UserInvited(OfUser):
    """A user was invited anew, to choose another password and one-time password."""

    event_type: ClassVar[EventType] = EventType.USER_INVITED

    subject: str


class UserActivated(OfUser):
    """A user has chosen a password and a one-time password. What was logged in with before is void."""

    event_type: ClassVar[EventType] = EventType.USER_ACTIVATED


class UserDeleted(OfUser):
    """A user opens nothing any more."""

    event_type: ClassVar[EventType] = EventType.USER_DELETED

    subject: str


class LoginSucceeded(OfUser):
    """A user logged in, by the methods that `amr` names (RFC 8176)."""

    event_type: ClassVar[EventType] = EventType.LOGIN_SUCCEEDED

    client_id: str
    amr: tuple[str, ...]


class LoginFailed(OfUser):
    """Somebody tried to log in as a user. Attempts while it is locked, and for names nobody has, are in the log alone."""

    event_type: ClassVar[EventType] = EventType.LOGIN_FAILED

    reason: LoginFailure


class OfTwoKey(EventData):
    """An event on a two-key request; its subject is the request's id. `digest` is of what is approved."""

    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    approval_id: TwoKeyId
    action: TwoKeyAction
    resource: str
    digest: Sha256

    @property
    def about(self) -> str:
        return self.approval_id


class TwoKeyProposed(OfTwoKey):
    """Two people are asked to approve something."""

    event_type: ClassVar[EventType] = EventType.TWO_KEY_PROPOSED

    subject: str


class TwoKeyApproved(OfTwoKey):
    """A person approved; `complete` with the second."""

    event_type: ClassVar[EventType] = EventType.TWO_KEY_APPROVED

    user_id: UserId
    complete: bool


class TwoKeyWithdrawn(OfTwoKey):
    """A request cannot be approved or used any more."""

    event_type: ClassVar[EventType] = EventType.TWO_KEY_WITHDRAWN

    subject: str


class TwoKeyConsumed(OfTwoKey):
    """What was approved was done."""

    event_type: ClassVar[EventType] = EventType.TWO_KEY_CONSUMED

    approvers: tuple[UserId, UserId]


class SlmCallRecorded(CallRecord, EventData):
    """One attempt at a model call, as it ended. Its subject is the session or the model request it belongs to."""

    event_type: ClassVar[EventType] = EventType.SLM_CALL_RECORDED
    topic: ClassVar[Topic] = Topic.SLM_METRICS

    @property
    def about(self) -> str:
        return self.session_id or self.request_id or self.workflow_id

    @classmethod
    def of(cls, record: CallRecord) -> SlmCallRecorded:
        """The event of a record."""
        return cls(**dict(record))


class OfIdentity(EventData):
    """An event on who may do what. `subject` is who did it."""

    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    subject: str


class OfRole(OfIdentity):
    """An event on a role of the tenant's; its subject is the role's id."""

    role_id: RoleId
    name: str

    @property
    def about(self) -> str:
        return self.role_id


class RoleCreated(OfRole):
    """A role was made."""

    event_type: ClassVar[EventType] = EventType.ROLE_CREATED

    capabilities: tuple[str, ...]


class RoleReplaced(OfRole):
    """A role opens these from now on, for everybody who has it."""

    event_type: ClassVar[EventType] = EventType.ROLE_REPLACED

    capabilities: tuple[str, ...]
    version: Count


class RoleDeleted(OfRole):
    """A role that nobody had is gone."""

    event_type: ClassVar[EventType] = EventType.ROLE_DELETED


class OfClient(OfIdentity):
    """An event on a client; its subject is the client's id."""

    client_id: ClientId

    @property
    def about(self) -> str:
        return self.client_id


class ClientCreated(OfClient):
    """A client was made."""

    event_type: ClassVar[EventType] = EventType.CLIENT_CREATED

    scopes: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


class ClientChanged(OfClient):
    """A client has another name, or may do these from now on."""

    event_type: ClassVar[EventType] = EventType.CLIENT_CHANGED

    scopes: tuple[str, ...]
    roles: tuple[str, ...]
    version: Count


class ClientRotated(OfClient):
    """A client has a new secret. The former one opens until then; null: no longer."""

    event_type: ClassVar[EventType] = EventType.CLIENT_ROTATED

    former_until: UtcTime | None = None
    version: Count


class ClientDisabled(OfClient):
    """A client ended, with its tokens and API keys."""

    event_type: ClassVar[EventType] = EventType.CLIENT_DISABLED


class OfTenant(OfIdentity):
    """An event on the tenant itself, which is its subject; the platform did it."""

    tenant_id: TenantId

    @property
    def about(self) -> str:
        return self.tenant_id


class TenantCreated(OfTenant):
    """A tenant was made, with its first client."""

    event_type: ClassVar[EventType] = EventType.TENANT_CREATED

    plan: str
    client_id: ClientId


class TenantChanged(OfTenant):
    """A tenant has another name, plan, limit or residency."""

    event_type: ClassVar[EventType] = EventType.TENANT_CHANGED

    plan: str
    requests_per_minute: Count | None = None
    residency: tuple[str, ...] = ()
    version: Count


class TenantDeleted(OfTenant):
    """A tenant ended: its tokens, keys and runs are refused."""

    event_type: ClassVar[EventType] = EventType.TENANT_DELETED


class DecisionRecorded(EventData):
    """The gate decided. `resource` is what the decision is about and the event's subject; `score` is 0..1000."""

    event_type: ClassVar[EventType] = EventType.DECISION_RECORDED
    topic: ClassVar[Topic] = Topic.POLICY_DECISIONS

    decision_id: DecisionId
    verdict: Verdict
    score: Count
    reasons: tuple[ReasonCode, ...] = ()
    policy_digest: Sha256 | None = None
    constitution_hash: Sha256 | None = None
    input_digest: Sha256
    workflow_id: str
    resource: str
    tenant_policy_digest: Sha256 | None = None

    @property
    def about(self) -> str:
        return self.resource

    @classmethod
    def of(cls, decision: Decision, workflow_id: str, resource: str) -> DecisionRecorded:
        """The event of a decision."""
        return cls(
            decision_id=decision.decision_id,
            verdict=decision.verdict,
            score=decision.score,
            reasons=reason_codes(decision),
            policy_digest=decision.policy_digest,
            constitution_hash=decision.constitution_hash,
            input_digest=decision.input_digest,
            workflow_id=workflow_id,
            resource=resource,
            tenant_policy_digest=decision.tenant_policy_digest,
        )


class DecisionResolved(EventData):
    """An escalated decision was answered. `approver` is null when the time for an answer ran out."""

    event_type: ClassVar[EventType] = EventType.DECISION_RESOLVED
    topic: ClassVar[Topic] = Topic.POLICY_DECISIONS

    decision_id: DecisionId
    resource: str
    approved: bool
    approver: str | None = None

    @property
    def about(self) -> str:
        return self.resource


class ContentFlagged(EventData):
    """Moderation found something in a text. `severity` is the worst found; `resource` (a session) is the subject."""

    event_type: ClassVar[EventType] = EventType.CONTENT_FLAGGED
    topic: ClassVar[Topic] = Topic.MODERATION_EVENTS

    resource: str
    direction: Direction
    severity: Severity
    rule_ids: tuple[str, ...]
    categories: tuple[str, ...]
    verdict: Verdict
    decision_id: DecisionId | None = None
    turn_id: TurnId | None = None
    constitution_hash: Sha256 | None = None

    @property
    def about(self) -> str:
        return self.resource


EVENT_DATA: Final[dict[EventType, type[EventData]]] = {
    model.event_type: model
    for model in (
        SessionStarted,
        SessionDenied,
        SessionEscalated,
        SessionClosed,
        TurnQueued,
        TurnStarted,
        TurnEscalated,
        TurnDenied,
        TurnCompleted,
        TurnFailed,
        TurnCancelled,
        DocumentAdded,
        DocumentDeleted,
        SlmRequestAccepted,
        SlmRequestEnded,
        SlmCallRecorded,
        BudgetSet,
        BudgetAlerted,
        BudgetExhausted,
        BudgetOverrun,
        ModelReviewed,
        ApiKeyCreated,
        ApiKeyRevoked,
        RevocationCreated,
        KillSwitchEngaged,
        KillSwitchStated,
        KillSwitchReleased,
        PolicySetCreated,
        PolicySetActivated,
        PolicySetDeactivated,
        PolicyReplayEnded,
        *(RoleCreated, RoleReplaced, RoleDeleted),
        *(ClientCreated, ClientChanged, ClientRotated, ClientDisabled),
        *(TenantCreated, TenantChanged, TenantDeleted),
        UserCreated,
        UserChanged,
        UserInvited,
        UserActivated,
        UserDeleted,
        LoginSucceeded,
        LoginFailed,
        TwoKeyProposed,
        TwoKeyApproved,
        TwoKeyWithdrawn,
        TwoKeyConsumed,
        DecisionRecorded,
        DecisionResolved,
        ContentFlagged,
    )
}
"""Every event's model by its type."""


def new_event(event_id: str, data: EventData, traceparent: str | None = None) -> NewEvent:
    """The event that tells `data`: its type, topic and subject are the model's."""
    return NewEvent(
        event_id=event_id,
        topic=data.topic,
        type=data.event_type,
        subject=data.about,
        data=data.model_dump(mode="json"),
        traceparent=traceparent,
    )
