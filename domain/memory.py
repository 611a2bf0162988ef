"""What is remembered of a session and how it is recalled."""

from __future__ import annotations

from domain.actors import Actor
from domain.base import Contract
from domain.blobs import BlobRef
from domain.ids import SessionId, TurnId


class MemoryItem(Contract):
    """One thing to remember; the key makes writing it again harmless."""

    key: str
    text: str
    session_id: SessionId


class Recalled(Contract):
    """One thing recalled. `score` is 0..1, comparable within one answer only."""

    key: str
    text: str
    score: float


class Recollection(Contract):
    """What recall gave; `degraded` names why it may be incomplete."""

    items: tuple[Recalled, ...] = ()
    degraded: tuple[str, ...] = ()


class Remembered(Contract):
    """What became of a write: `durable` when it is in long-term storage, else `queued` there."""

    durable: bool
    queued: bool = False
    warnings: tuple[str, ...] = ()


class RecallCall(Contract):
    """Argument of `memory.recall`, which returns a RecallOutcome."""

    actor: Actor
    session_id: SessionId
    turn_id: TurnId
    message: BlobRef


class RememberCall(Contract):
    """Argument of `memory.remember`."""

    actor: Actor
    session_id: SessionId
    turn_id: TurnId
    message: BlobRef
    reply: BlobRef


class RecallOutcome(Contract):
    """Result of `memory.recall`: a blob with a Recollection, or none when nothing was recalled."""

    recollection: BlobRef | None = None
    degraded: tuple[str, ...] = ()
