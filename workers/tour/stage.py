"""What every scene of the tour works with, and how a scene becomes a step."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from domain.errors import DomainError
from runtime.settings import Settings
from workers.cli.gateway_client import Gateway, new_key
from workers.tour.record import Fact, NotSeen, Step
from workers.tour.runs import Runs

GUIDE: Final = Path(__file__).with_name("guide.md")
"""The text the tour asks about: a guide to the very stack it runs on."""


@dataclass(frozen=True)
class Stage:
    """The gateway as the demo tenant's admin sees it, Temporal, and the home whose supervisor runs the worker."""

    gateway: Gateway
    runs: Runs
    settings: Settings
    home: Path
    since: str | None
    """Where the outbox stood when the tour began."""
    steps: list[Step] = field(default_factory=list[Step])
    """What was seen so far."""

    def add_document(self, name: str, content: str) -> dict[str, Any]:
        """Uploads a Markdown text. Raises DomainError."""
        body = {"name": name, "media_type": "text/markdown", "content": content}
        return self.gateway.post("/v1/documents", body, key=new_key())

    def start(self, **body: Any) -> dict[str, Any]:
        """Starts a session, and waits for its answer when it has a prompt. Raises DomainError."""
        return self.gateway.post("/v1/sessions/start", body, key=new_key(), wait=30.0)


@dataclass
class Seen:
    """What a scene has seen so far; a scene that fails half-way has still seen that much."""

    facts: dict[str, Fact]
    workflow_id: str | None = None


@dataclass(frozen=True)
class Scene:
    """One thing to be seen. `play` fills in what it sees and raises NotSeen, or any DomainError, when it is something else."""

    name: str
    title: str
    expected: str
    play: Callable[[Stage, Seen], None]


def perform(scene: Scene, stage: Stage) -> Step:
    """Plays a scene; whatever goes wrong in it is in the step."""
    began, seen, trouble = time.monotonic(), Seen({}), None
    try:
        scene.play(stage, seen)
    except DomainError as error:
        trouble = error.detail
    except (KeyError, TypeError) as error:
        trouble = f"An answer had another shape than documented ({type(error).__name__}: {error})."
    return Step(
        name=scene.name,
        title=scene.title,
        expected=scene.expected,
        seen=trouble is None,
        workflow_id=seen.workflow_id,
        temporal_url=_link(stage, seen.workflow_id),
        facts=seen.facts,
        trouble=trouble,
        seconds=round(time.monotonic() - began, 2),
    )


def demand(condition: object, otherwise: str) -> None:
    """Raises NotSeen with that sentence unless the condition holds."""
    if not condition:
        raise NotSeen(otherwise)


def _link(stage: Stage, workflow_id: str | None) -> str | None:
    try:
        return stage.runs.link(workflow_id) if workflow_id else None
    except DomainError:
        return None
