"""Kills processes at moments worth killing at: while a message arrives, while a step runs, just as the model has answered.

The seed fixes whom it kills in which order, at what kind of moment and after what pause; what the machine does meanwhile it
cannot fix.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from chaos.conversation import Conversation
from chaos.histories import pending_steps
from chaos.ledger import Ledger
from chaos.supervised_stack import PROCESSES, Killed, SupervisedStack
from fakes.openai_server import FakeOpenAI
from temporalio.client import Client
from temporalio.service import RPCError

Moment = Literal["whenever", "step", "arrival", "answer"]
_INSIDE: Final[tuple[Moment, ...]] = ("step", "step", "arrival", "answer")
_PATIENCE_SECONDS: Final = 20.0
_LOOK_SECONDS: Final = 0.02


@dataclass(frozen=True)
class Shot:
    """A kill that is to come: whom, at what moment, after what pause in seconds, and how late after the moment."""

    process: str
    moment: Moment
    pause: float
    delay: float


def plan(kills: int, random_source: random.Random, pauses: tuple[float, float]) -> list[Shot]:
    """So many kills of each process in mixed order, two of three inside a turn: some of them are late."""
    shots: list[Shot] = []
    for process in PROCESSES:
        for number in range(kills):
            moment: Moment = "whenever" if number % 3 == 2 else random_source.choice(_INSIDE)
            delay = 0.0 if moment == "step" else random_source.uniform(0.0, 0.08)
            shots.append(Shot(process, moment, random_source.uniform(*pauses), delay))
    random_source.shuffle(shots)
    return shots


class Sharpshooter:
    """Fires a plan at a stack."""

    def __init__(
        self, stack: SupervisedStack, temporal: Client, model: FakeOpenAI, talks: Sequence[Conversation], ledger: Ledger
    ) -> None:
        self._stack, self._temporal, self._model, self._talks, self._ledger = stack, temporal, model, talks, ledger
        self.killed: list[tuple[Killed, Moment]] = []

    async def fire(self, shots: Sequence[Shot]) -> None:
        """Each shot in its turn; a process is killed only while it serves."""
        for shot in shots:
            await asyncio.sleep(shot.pause)
            await self._stack.serving(shot.process)
            moment = shot.moment if await self._wait(shot.moment) else "whenever"
            await asyncio.sleep(shot.delay)
            self.killed.append((await self._stack.kill(shot.process), moment))

    async def _wait(self, moment: Moment) -> bool:
        """False when it did not come in time."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        begun, answered = self._begun(), self._answers()
        while time.monotonic() < deadline:
            if moment == "whenever":
                return True
            if moment == "arrival" and self._begun() > begun:
                return True
            if moment == "answer" and self._answers() > answered:
                return True
            if moment == "step" and await self._step_runs():
                return True
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    def _begun(self) -> int:
        return sum(talk.begun for talk in self._talks)

    def _answers(self) -> int:
        return sum(call.finished for call in self._model.calls)

    async def _step_runs(self) -> bool:
        """Whether an activity of any open conversation is pending, as Temporal says."""
        tenant = self._stack.credentials.tenant
        for session_id in list(self._ledger.sessions.values())[-len(self._talks) :]:
            try:
                async with asyncio.timeout(2):
                    if await pending_steps(self._temporal, f"session/{tenant}/{session_id}"):
                        return True
            except (RPCError, TimeoutError):
                continue
        return False
