"""What the clients of a drill were told: the record that the stores are held against afterwards."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any


@dataclass
class Message:
    """One message under one Idempotency-Key. `turns` are the turn ids it was acknowledged with: one, if all is right."""

    session_id: str
    key: str
    content: str
    first_sent: datetime = field(default_factory=lambda: datetime.now(UTC))
    turns: set[str] = field(default_factory=set)
    requests: int = 0


@dataclass
class Ledger:
    """Sessions started, messages sent, replies read, and answers that the contract does not know."""

    sessions: dict[str, str] = field(default_factory=dict)
    """Session id by the Idempotency-Key it was started with."""
    started_twice: list[str] = field(default_factory=list)
    messages: dict[str, Message] = field(default_factory=dict)
    replies: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """Every reply that was read for a turn; more than one is a reply that changed."""
    answers: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    @property
    def acknowledged(self) -> list[Message]:
        return [message for message in self.messages.values() if message.turns]

    def started(self, key: str, session_id: str) -> None:
        """A start was acknowledged."""
        if self.sessions.setdefault(key, session_id) != session_id:
            self.started_twice.append(session_id)

    def read(self, turn: dict[str, Any]) -> None:
        """A turn was read."""
        if turn["reply"] is not None:
            self.replies[turn["turn_id"]].add(turn["reply"])
