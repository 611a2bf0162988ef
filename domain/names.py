"""Wire names: queues, lanes, topics, event types, search attributes, workflows, activities, updates.

All are API: frozen once released, explicit wherever they are used. A rename is a migration.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Final


class Queue(StrEnum):
    """Temporal task queues."""

    INTERACTIVE = "interactive"
    SLM = "slm"
    SLM_BATCH = "slm-batch"
    """Model calls of the batch lane: their own queue, so that their workers' slots can be capped."""
    PLATFORM = "platform"


class Lane(IntEnum):
    """Temporal priority keys; lower runs first."""

    SAFETY = 1
    INTERACTIVE = 2
    PROJECT = 3
    BACKGROUND = 4
    BATCH = 5


class SearchAttribute(StrEnum):
    """All Keyword. Set at start; only `Verdict` is upserted, and only when it is not `allow`."""

    TENANT_ID = "TenantId"
    FEATURE = "Feature"
    SESSION_ID = "SessionId"
    PROJECT_ID = "ProjectId"
    CAPSULE_ID = "CapsuleId"
    PERSONA_ID = "PersonaId"
    LANE = "Lane"
    REGION = "Region"
    VERDICT = "Verdict"


class Topic(StrEnum):
    """Event topics that have a producer."""

    SESSION_EVENTS = "session.events"
    DOCUMENT_EVENTS = "document.events"
    SLM_REQUESTS = "slm.requests"
    SLM_RESPONSES = "slm.responses"
    SLM_METRICS = "slm.metrics"
    BUDGET_EVENTS = "budget.events"
    IDENTITY_EVENTS = "identity.events"
    POLICY_DECISIONS = "policy.decisions"
    MODERATION_EVENTS = "moderation.events"
    KILLSWITCH_EVENTS = "killswitch.events"


EVENT_PREFIX: Final = "somagent"


class EventType(StrEnum):
    """`prefix.noun.past-participle.version`."""

    SESSION_STARTED = f"{EVENT_PREFIX}.session.started.v1"
    SESSION_DENIED = f"{EVENT_PREFIX}.session.denied.v1"
    SESSION_ESCALATED = f"{EVENT_PREFIX}.session.escalated.v1"
    SESSION_CLOSED = f"{EVENT_PREFIX}.session.closed.v1"
    TURN_QUEUED = f"{EVENT_PREFIX}.turn.queued.v1"
    TURN_STARTED = f"{EVENT_PREFIX}.turn.started.v1"
    TURN_ESCALATED = f"{EVENT_PREFIX}.turn.escalated.v1"
    TURN_DENIED = f"{EVENT_PREFIX}.turn.denied.v1"
    TURN_COMPLETED = f"{EVENT_PREFIX}.turn.completed.v1"
    TURN_FAILED = f"{EVENT_PREFIX}.turn.failed.v1"
    TURN_CANCELLED = f"{EVENT_PREFIX}.turn.cancelled.v1"
    DOCUMENT_ADDED = f"{EVENT_PREFIX}.document.added.v1"
    DOCUMENT_DELETED = f"{EVENT_PREFIX}.document.deleted.v1"
    SLM_REQUEST_ACCEPTED = f"{EVENT_PREFIX}.slm_request.accepted.v1"
    SLM_REQUEST_ENDED = f"{EVENT_PREFIX}.slm_request.ended.v1"
    BUDGET_SET = f"{EVENT_PREFIX}.budget.set.v1"
    BUDGET_ALERTED = f"{EVENT_PREFIX}.budget.alerted.v1"
    BUDGET_EXHAUSTED = f"{EVENT_PREFIX}.budget.exhausted.v1"
    BUDGET_OVERRUN = f"{EVENT_PREFIX}.budget.overrun.v1"
    MODEL_REVIEWED = f"{EVENT_PREFIX}.model.reviewed.v1"
    API_KEY_CREATED = f"{EVENT_PREFIX}.api_key.created.v1"
    API_KEY_REVOKED = f"{EVENT_PREFIX}.api_key.revoked.v1"
    REVOCATION_CREATED = f"{EVENT_PREFIX}.revocation.created.v1"
    KILL_SWITCH_ENGAGED = f"{EVENT_PREFIX}.kill_switch.engaged.v1"
    KILL_SWITCH_STATED = f"{EVENT_PREFIX}.kill_switch.stated.v1"
    KILL_SWITCH_RELEASED = f"{EVENT_PREFIX}.kill_switch.released.v1"
    ROLE_CREATED = f"{EVENT_PREFIX}.role.created.v1"
    ROLE_REPLACED = f"{EVENT_PREFIX}.role.replaced.v1"
    ROLE_DELETED = f"{EVENT_PREFIX}.role.deleted.v1"
    CLIENT_CREATED = f"{EVENT_PREFIX}.client.created.v1"
    CLIENT_CHANGED = f"{EVENT_PREFIX}.client.changed.v1"
    CLIENT_ROTATED = f"{EVENT_PREFIX}.client.rotated.v1"
    CLIENT_DISABLED = f"{EVENT_PREFIX}.client.disabled.v1"
    TENANT_CREATED = f"{EVENT_PREFIX}.tenant.created.v1"
    TENANT_CHANGED = f"{EVENT_PREFIX}.tenant.changed.v1"
    TENANT_DELETED = f"{EVENT_PREFIX}.tenant.deleted.v1"
    USER_CREATED = f"{EVENT_PREFIX}.user.created.v1"
    USER_CHANGED = f"{EVENT_PREFIX}.user.changed.v1"
    USER_INVITED = f"{EVENT_PREFIX}.user.invited.v1"
    USER_ACTIVATED = f"{EVENT_PREFIX}.user.activated.v1"
    USER_DELETED = f"{EVENT_PREFIX}.user.deleted.v1"
    LOGIN_SUCCEEDED = f"{EVENT_PREFIX}.login.succeeded.v1"
    LOGIN_FAILED = f"{EVENT_PREFIX}.login.failed.v1"
    TWO_KEY_PROPOSED = f"{EVENT_PREFIX}.two_key.proposed.v1"
    TWO_KEY_APPROVED = f"{EVENT_PREFIX}.two_key.approved.v1"
    TWO_KEY_WITHDRAWN = f"{EVENT_PREFIX}.two_key.withdrawn.v1"
    TWO_KEY_CONSUMED = f"{EVENT_PREFIX}.two_key.consumed.v1"
    SLM_CALL_RECORDED = f"{EVENT_PREFIX}.slm_call.recorded.v1"
    POLICY_SET_CREATED = f"{EVENT_PREFIX}.policy_set.created.v1"
    POLICY_SET_ACTIVATED = f"{EVENT_PREFIX}.policy_set.activated.v1"
    POLICY_SET_DEACTIVATED = f"{EVENT_PREFIX}.policy_set.deactivated.v1"
    POLICY_REPLAY_ENDED = f"{EVENT_PREFIX}.policy_replay.ended.v1"
    DECISION_RECORDED = f"{EVENT_PREFIX}.decision.recorded.v1"
    DECISION_RESOLVED = f"{EVENT_PREFIX}.decision.resolved.v1"
    CONTENT_FLAGGED = f"{EVENT_PREFIX}.content.flagged.v1"


SYSTEM_TENANT: Final = "system"


class Feature(StrEnum):
    """First part of a workflow id: `{feature}/{tenant}/{id}`."""

    SESSION = "session"
    DOCUMENT = "document"
    DOCUMENT_DELETION = "document-deletion"
    SLM = "slm"
    BUDGET = "budget"
    MODEL_REVIEW = "model-review"
    LEDGER_SWEEP = "ledger-sweep"
    LEDGER_RECONCILE = "ledger-reconcile"
    API_KEY = "api-key"
    API_KEY_REVOCATION = "api-key-revocation"
    REVOCATION = "revocation"
    KILL_SWITCH = "kill-switch"
    KILL_SWITCH_SWEEP = "kill-switch-sweep"
    POLICY_SET = "policy-set"
    POLICY_SET_ACTIVATION = "policy-set-activation"
    POLICY_REPLAY = "policy-replay"
    ROLE = "role"
    ROLE_REPLACEMENT = "role-replacement"
    ROLE_DELETION = "role-deletion"
    CLIENT = "client"
    CLIENT_CHANGE = "client-change"
    CLIENT_ROTATION = "client-rotation"
    CLIENT_DISABLING = "client-disabling"
    TENANT = "tenant"
    TENANT_CHANGE = "tenant-change"
    TENANT_DELETION = "tenant-deletion"
    USER = "user"
    USER_CHANGE = "user-change"
    USER_INVITATION = "user-invitation"
    USER_ACTIVATION = "user-activation"
    USER_DELETION = "user-deletion"
    TWO_KEY = "two-key"
    TWO_KEY_APPROVAL = "two-key-approval"
    TWO_KEY_WITHDRAWAL = "two-key-withdrawal"


class WorkflowName(StrEnum):
    """Workflow types."""

    SESSION = "session"
    DOCUMENT_ADD = "document.add"
    DOCUMENT_DELETE = "document.delete"
    SLM_REQUEST = "slm.request"
    BUDGET_SET = "budget.set"
    MODEL_REVIEW = "model.review"
    LEDGER_SWEEP = "ledger.sweep"
    LEDGER_RECONCILE = "ledger.reconcile"
    API_KEY_CREATE = "api_key.create"
    API_KEY_REVOKE = "api_key.revoke"
    REVOCATION_CREATE = "revocation.create"
    KILL_SWITCH_ENFORCE = "kill_switch.enforce"
    KILL_SWITCH_SWEEP = "kill_switch.sweep"
    POLICY_SET_CREATE = "policy_set.create"
    POLICY_SET_ACTIVATE = "policy_set.activate"
    POLICY_REPLAY = "policy.replay"
    ROLE_CREATE = "role.create"
    ROLE_REPLACE = "role.replace"
    ROLE_DELETE = "role.delete"
    CLIENT_CREATE = "client.create"
    CLIENT_CHANGE = "client.change"
    CLIENT_ROTATE = "client.rotate"
    CLIENT_DISABLE = "client.disable"
    TENANT_CREATE = "tenant.create"
    TENANT_CHANGE = "tenant.change"
    TENANT_DELETE = "tenant.delete"
    USER_CREATE = "user.create"
    USER_CHANGE = "user.change"
    USER_INVITE = "user.invite"
    USER_ACTIVATE = "user.activate"
    USER_DELETE = "user.delete"
    TWO_KEY_PROPOSE = "two_key.propose"
    TWO_KEY_APPROVE = "two_key.approve"
    TWO_KEY_WITHDRAW = "two_key.withdraw"


class UpdateName(StrEnum):
    """Updates of the session workflow; `resume` and `cancel` also of a model request's, `started` of a replay's."""

    STARTED = "started"
    SEND = "send"
    CANCEL = "cancel"
    CLOSE = "close"
    RESOLVE = "resolve"
    RESUME = "resume"
    RELEASE = "release"


class ActivityName(StrEnum):
    """Activity types."""

    SESSION_OPEN = "session.open"
    SESSION_CLOSE = "session.close"
    TURN_QUEUE = "turn.queue"
    TURN_OPEN = "turn.open"
    TURN_RUN = "turn.run"
    TURN_REVIEW = "turn.review"
    TURN_CLOSE = "turn.close"
    DECISION_RESOLVE = "decision.resolve"
    MEMORY_RECALL = "memory.recall"
    MEMORY_REMEMBER = "memory.remember"
    SLM_COMPLETE = "slm.complete"
    SLM_OPEN = "slm.open"
    SLM_PLAN = "slm.plan"
    SLM_EMBED = "slm.embed"
    SLM_MOVE = "slm.move"
    SLM_CLOSE = "slm.close"
    BUDGET_SET = "budget.set"
    MODEL_REVIEW = "model.review"
    LEDGER_SWEEP = "ledger.sweep"
    LEDGER_RECONCILE = "ledger.reconcile"
    API_KEY_CREATE = "api_key.create"
    API_KEY_REVOKE = "api_key.revoke"
    REVOCATION_CREATE = "revocation.create"
    KILL_SWITCH_PAUSE = "kill_switch.pause"
    KILL_SWITCH_CANCEL = "kill_switch.cancel"
    KILL_SWITCH_SETTLE = "kill_switch.settle"
    KILL_SWITCH_STATE = "kill_switch.state"
    KILL_SWITCH_RELEASE = "kill_switch.release"
    KILL_SWITCH_RESUME = "kill_switch.resume"
    KILL_SWITCH_PENDING = "kill_switch.pending"
    POLICY_SET_CREATE = "policy_set.create"
    POLICY_SET_ACTIVATE = "policy_set.activate"
    POLICY_REPLAY_OPEN = "policy.replay_open"
    POLICY_REPLAY_PART = "policy.replay_part"
    POLICY_REPLAY_CLOSE = "policy.replay_close"
    ROLE_CREATE = "role.create"
    ROLE_REPLACE = "role.replace"
    ROLE_DELETE = "role.delete"
    CLIENT_CREATE = "client.create"
    CLIENT_CHANGE = "client.change"
    CLIENT_ROTATE = "client.rotate"
    CLIENT_DISABLE = "client.disable"
    TENANT_CREATE = "tenant.create"
    TENANT_CHANGE = "tenant.change"
    TENANT_DELETE = "tenant.delete"
    USER_CREATE = "user.create"
    USER_CHANGE = "user.change"
    USER_INVITE = "user.invite"
    USER_ACTIVATE = "user.activate"
    USER_DELETE = "user.delete"
    TWO_KEY_PROPOSE = "two_key.propose"
    TWO_KEY_APPROVE = "two_key.approve"
    TWO_KEY_WITHDRAW = "two_key.withdraw"
    DOCUMENT_ADD = "document.add"
    DOCUMENT_DELETE = "document.delete"


class Scope(StrEnum):
    """Capabilities, which are OAuth scope tokens (RFC 6749, 3.3)."""

    SESSION_START = "session:start"
    SESSION_READ = "session:read"
    SESSION_SEND = "session:send"
    SESSION_CANCEL = "session:cancel"
    DOCUMENT_READ = "document:read"
    DOCUMENT_WRITE = "document:write"
    EVENT_READ = "event:read"
    SLM_CALL = "slm:call"
    SLM_READ = "slm:read"
    BUDGET_READ = "budget:read"
    BUDGET_WRITE = "budget:write"
    KEY_READ = "key:read"
    KEY_WRITE = "key:write"
    REVOCATION_READ = "revocation:read"
    REVOCATION_WRITE = "revocation:write"
    KILLSWITCH_READ = "killswitch:read"
    KILLSWITCH_ENGAGE = "killswitch:engage"
    KILLSWITCH_RELEASE = "killswitch:release"
    ROLE_READ = "role:read"
    ROLE_WRITE = "role:write"
    CLIENT_READ = "client:read"
    CLIENT_WRITE = "client:write"
    TENANT_READ = "tenant:read"
    TENANT_WRITE = "tenant:write"
    USER_READ = "user:read"
    USER_WRITE = "user:write"
    APPROVAL_READ = "approval:read"
    APPROVAL_WRITE = "approval:write"
    POLICY_READ = "policy:read"
    POLICY_WRITE = "policy:write"
    POLICY_APPROVE = "policy:approve"
    CODEC_DECODE = "codec:decode"


class Effect(StrEnum):
    """What the gate decides about. `session:start` is the run itself; the others are calls outside the workflow."""

    SESSION_START = "session:start"
    TURN_ANSWER = "turn:answer"
    MEMORY_RECALL = "memory:recall"
    MODEL_CALL = "model:call"
    MEMORY_REMEMBER = "memory:remember"


class TwoKeyAction(StrEnum):
    """What two people must approve."""

    CONSTITUTION_ACTIVATE = "constitution.activate"
    KILLSWITCH_RELEASE = "killswitch.release"
    POLICY_OVERRIDE = "policy.override"


class LoginFailure(StrEnum):
    """Why somebody was not logged in: the password, the one-time password, or one that was used already."""

    FIRST_FACTOR = "password"
    SECOND_FACTOR = "code"
    REPLAYED = "replayed"


TOKENS: Final = "tokens"
"""The unit of a budget that counts no money."""


class BudgetScope(StrEnum):
    """What a budget bounds. They nest: a session's calls also count against its tenant's budgets."""

    TENANT = "tenant"
    PROJECT = "project"
    SESSION = "session"
    INSTALLATION = "installation"
    DELEGATION = "delegation"
    """A delegated token, by its jti, and all that is delegated from it."""


class UsageBy(StrEnum):
    """What sums are told apart by. `day` is of UTC; `model` is `provider/model`; `user` is who asked."""

    DAY = "day"
    MODEL = "model"
    SESSION = "session"
    USER = "user"
    LANE = "lane"


def workflow_id(feature: Feature, tenant_id: str, resource_id: str) -> str:
    """`session/demo/ses_…`."""
    return f"{feature.value}/{tenant_id}/{resource_id}"
