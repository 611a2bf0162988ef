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
    SLM_METRICS = "slm.metrics"
    POLICY_DECISIONS = "policy.decisions"
    MODERATION_EVENTS = "moderation.events"


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
    SLM_CALL_RECORDED = f"{EVENT_PREFIX}.slm_call.recorded.v1"
    DECISION_RECORDED = f"{EVENT_PREFIX}.decision.recorded.v1"
    DECISION_RESOLVED = f"{EVENT_PREFIX}.decision.resolved.v1"
    CONTENT_FLAGGED = f"{EVENT_PREFIX}.content.flagged.v1"


SYSTEM_TENANT: Final = "system"


class Feature(StrEnum):
    """First part of a workflow id: `{feature}/{tenant}/{id}`."""

    SESSION = "session"
    DOCUMENT = "document"
    DOCUMENT_DELETION = "document-deletion"


class WorkflowName(StrEnum):
    """Workflow types."""

    SESSION = "session"
    DOCUMENT_ADD = "document.add"
    DOCUMENT_DELETE = "document.delete"


class UpdateName(StrEnum):
    """Updates of the session workflow."""

    STARTED = "started"
    SEND = "send"
    CANCEL = "cancel"
    CLOSE = "close"
    RESOLVE = "resolve"


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
    POLICY_READ = "policy:read"
    POLICY_APPROVE = "policy:approve"
    CODEC_DECODE = "codec:decode"


class Effect(StrEnum):
    """What the gate decides about. `session:start` is the run itself; the others are calls outside the workflow."""

    SESSION_START = "session:start"
    TURN_ANSWER = "turn:answer"
    MEMORY_RECALL = "memory:recall"
    MODEL_CALL = "model:call"
    MEMORY_REMEMBER = "memory:remember"


def workflow_id(feature: Feature, tenant_id: str, resource_id: str) -> str:
    """`session/demo/ses_…`."""
    return f"{feature.value}/{tenant_id}/{resource_id}"
