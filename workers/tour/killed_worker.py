"""The scene in which a worker is killed while it answers, and the turn is answered all the same.

Nothing is claimed that was not seen: the pid comes from what Temporal says of the activity under way and must be the supervised
worker's; that the kill came in time is read back from the history, where a later attempt than the first must stand.
"""

from __future__ import annotations

import time
from typing import Any, Final

import psutil

from domain.names import ActivityName
from domain.sessions import TurnStatus
from workers.cli.gateway_client import new_key
from workers.embedded.processes import ProcessRecord
from workers.embedded.state import RunDirectory
from workers.tour.record import NotSeen
from workers.tour.runs import Attempt, Started
from workers.tour.stage import GUIDE, Scene, Seen, Stage, demand

QUESTION: Final = "What happens to a turn when its worker is killed?"
TRIES: Final = 5
_LARGE: Final = 3 * 1024 * 1024
_START_SECONDS: Final = 30.0
_ANSWER_SECONDS: Final = 90.0
_INTO_THE_CALL: Final = 0.15
"""The first kill waits this long, so that the call is well under way; later ones do not, for the first came too late."""


class _TooLate(NotSeen):
    """The call was over before the worker died."""


def _play(stage: Stage, seen: Seen) -> None:
    documents: list[str] = []
    for number in range(1, TRIES + 1):
        # Each try reads one text more than the one before, so that its call takes longer.
        documents.append(_add_text(stage, seen))
        started = stage.start(documents=documents)
        seen.workflow_id = started["workflow_id"]
        try:
            _once(stage, seen, started, pause=_INTO_THE_CALL if number == 1 else 0.0)
        except _TooLate:
            seen.facts["kills that came too late"] = number
        else:
            return
    raise NotSeen(f"In {TRIES} tries no kill came while the model was called; the call is too quick on this machine.")


def _add_text(stage: Stage, seen: Seen) -> str:
    """A text large enough that quoting from it takes a while. A configured model is asked about the short one alone."""
    guide = GUIDE.read_text(encoding="utf-8")
    copies = 1 if stage.settings.model_base_url else _LARGE // len(guide.encode())
    text = "\n\n".join(f"# Copy {number} of {copies}\n\n{guide}" for number in range(1, copies + 1))
    document = stage.add_document(f"{copies} copies of {GUIDE.name}", text)
    seen.facts["document"] = f"{document['name']}, {document['bytes'] / 2**20:.1f} MiB"
    return str(document["document_id"])


def _once(stage: Stage, seen: Seen, session: dict[str, Any], *, pause: float) -> None:
    """One message, one kill. Raises _TooLate when the call was over before, NotSeen when it cannot be done."""
    run = session["workflow_id"]
    path = f"/v1/sessions/{session['session_id']}/messages"
    taken = stage.gateway.post(path, {"content": QUESTION}, key=new_key())
    call = stage.runs.until_started(run, ActivityName.SLM_COMPLETE, _START_SECONDS)
    if call is None:
        _await(stage, taken)
        raise _TooLate("The call was never seen under way.")
    worker = _supervised(stage, call)
    time.sleep(pause)
    _kill(worker)
    killed = time.monotonic()
    turn = _await(stage, taken)
    answered = round(time.monotonic() - killed, 1)
    ended = _model_call(stage.runs.attempts(run))
    if ended is None or ended.attempt <= call.attempt:
        raise _TooLate("The call ended with the attempt that was to be interrupted.")
    seen.facts |= {
        "question": QUESTION,
        "killed": f"worker, pid {worker.pid}, with SIGKILL",
        "in activity": f"{call.activity}, attempt {call.attempt}, held by {call.worker}",
        "attempt in the history": ended.attempt,
        "why another attempt": ended.failure_before,
        "answered by": f"{ended.worker}, {answered} s after the kill",
        "turn": f"{turn['turn_id']} {turn['status']}",
        "answer": turn["reply"],
        "model": turn["model"],
        "killed_pid": worker.pid,
    }
    demand(turn["status"] == TurnStatus.COMPLETED, f"The turn ended as {turn['status']}.")
    demand(ended.worker != call.worker, "The history names the killed worker for the attempt that answered.")


def _await(stage: Stage, taken: dict[str, Any]) -> dict[str, Any]:
    return stage.gateway.await_turn(taken["turn_url"], _ANSWER_SECONDS)


def _supervised(stage: Stage, call: Started) -> ProcessRecord:
    """The process that holds the call, if it is a worker of this home. Raises NotSeen; a stranger is never killed."""
    pid = call.worker.partition("@")[0]
    state = RunDirectory(stage.home).read_state()
    processes = state.processes if state else {}
    worker = processes["worker"].record if "worker" in processes else None
    if worker is None or str(worker.pid) != pid:
        raise NotSeen(f"The call is held by {call.worker}, which is no worker of {stage.home}; it is left alone.")
    return worker


def _kill(worker: ProcessRecord) -> None:
    process = worker.find()
    if process is None:
        raise _TooLate("The worker ended by itself.")
    process.kill()
    try:
        process.wait(5.0)
    except psutil.TimeoutExpired:
        raise NotSeen(f"The worker {worker.pid} lived on after SIGKILL.") from None


def _model_call(attempts: list[Attempt]) -> Attempt | None:
    """The model call of the session's only turn."""
    return next((each for each in attempts if each.activity == ActivityName.SLM_COMPLETE), None)


KILLED_WORKER: Final = Scene(
    "killed-worker",
    "A worker is killed in the middle of an answer",
    "The turn completes all the same, in a later attempt by another worker.",
    _play,
)
