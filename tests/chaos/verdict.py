"""Judges a drill: what was acknowledged and is lost, what happened twice, and whom that happened to; prints it as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from chaos.evidence import Evidence
from chaos.histories import Timeline
from chaos.ledger import Ledger, Message
from chaos.sharpshooter import Moment
from chaos.supervised_stack import PROCESSES, Killed

_FINE: Final = frozenset({"RUNNING", "COMPLETED", "CONTINUED_AS_NEW"})


@dataclass
class Row:
    """What was done to one process, and what became of the turns under way just then."""

    process: str
    kills: int = 0
    inside: int = 0
    steps: Counter[str] = field(default_factory=Counter)
    turns: set[str] = field(default_factory=set)
    """Keys of the messages that were under way at one of its kills."""


@dataclass
class Verdict:
    """`lost` and `doubled` say what went wrong by Idempotency-Key (or id, where there is no key); `faults` is all the rest."""

    seed: str
    rows: list[Row]
    ledger: Ledger
    evidence: Evidence
    lost: dict[str, str] = field(default_factory=dict)
    doubled: dict[str, str] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    @property
    def table(self) -> str:
        """One line a process, one for all turns, and the figures behind them."""
        shape = "{:<9} {:>5} {:>11} {:>6} {:>5} {:>8}  {}"
        lines = [f"seed {self.seed}", shape.format("process", "kills", "inside turn", "turns", "lost", "doubled", "steps hit")]
        for row in self.rows:
            steps = ", ".join(f"{step} {count}" for step, count in row.steps.most_common())
            lost, doubled = len(row.turns & set(self.lost)), len(row.turns & set(self.doubled))
            lines.append(shape.format(row.process, row.kills, row.inside, len(row.turns), lost, doubled, steps))
        kills, inside = sum(row.kills for row in self.rows), sum(row.inside for row in self.rows)
        acknowledged = len(self.ledger.acknowledged)
        lines.append(shape.format("all", kills, inside, acknowledged, len(self.lost), len(self.doubled), ""))
        return "\n".join([*lines, *self._figures()])

    def _figures(self) -> Iterator[str]:
        found = self.evidence
        attempts = sum(call["attempts"] for call in found.calls.values())
        unknown = sum(call["unknown"] for call in found.calls.values())
        repeated = sum(count - 1 for count in found.published.values())
        yield (
            f"{len(found.transcripts)} sessions, {found.runs} runs replayed, {found.payloads} payloads decoded; "
            f"{attempts} model calls for {len(found.calls)} turns, {unknown} of unknown end; "
            f"{len(found.events)} events, {repeated} published again"
        )
        tasks = ", ".join(f"{cause} {count}" for cause, count in found.failed_tasks.most_common())
        yield f"workflow tasks that did not end: {tasks or 'none'}"
        answers = ", ".join(f"{name} {count}" for name, count in sorted(self.ledger.answers.items()))
        yield f"answers to the clients: {answers}"
        for what, cases in (("lost", self.lost), ("doubled", self.doubled)):
            yield from (f"{what} {key}: {why}" for key, why in cases.items())
        yield from (f"fault: {fault}" for fault in self.faults)


def judge(
    seed: str,
    tenant: str,
    ledger: Ledger,
    found: Evidence,
    killed: Sequence[tuple[Killed, Moment]] = (),
    processes: Sequence[str] = (),
) -> Verdict:
    """Everything is held against everything; `processes` get a row each."""
    verdict = Verdict(seed, [], ledger, found)
    turns = {turn["turn_id"]: turn for transcript in found.transcripts.values() for turn in transcript}
    for message in ledger.messages.values():
        _judge_message(message, found, verdict)
    _judge_turns(turns, verdict)
    _judge_events(turns, found, verdict)
    for session_id in ledger.started_twice:
        verdict.doubled[session_id] = "one key started two sessions"
    for status, ids in found.statuses.items():
        if status not in _FINE:
            verdict.faults.append(f"workflows ended as {status}: {sorted(ids)}")
    verdict.faults += ledger.violations
    timelines = {key: found.timelines[f"session/{tenant}/{message.session_id}"] for key, message in ledger.messages.items()}
    verdict.rows = [_row(process, ledger, turns, timelines, killed) for process in PROCESSES if process in processes]
    return verdict


def _judge_message(message: Message, found: Evidence, verdict: Verdict) -> None:
    """An acknowledged message is in the transcript once, under its turn, completed, with the reply to it."""
    if len(message.turns) > 1:
        verdict.doubled[message.key] = f"one key has the turns {sorted(message.turns)}"
    same = [turn for turn in found.transcripts.get(message.session_id, []) if turn["content"] == message.content]
    if len(same) > 1:
        verdict.doubled[message.key] = f"the message stands {len(same)} times in the transcript"
    if not message.turns:
        verdict.faults.append(f"message {message.key} was never acknowledged")
    elif not any(turn["turn_id"] in message.turns for turn in same):
        verdict.lost[message.key] = "acknowledged, and not in the transcript"
    elif (turn := same[0])["status"] != "completed" or message.content not in (turn["reply"] or ""):
        verdict.lost[message.key] = f"acknowledged, and {turn['status']}: {turn['error'] or turn['decision']}"


def _judge_turns(turns: dict[str, dict[str, Any]], verdict: Verdict) -> None:
    """No turn that nobody asked for, no reply that changes, no answer bought twice."""
    keys = {turn_id: message.key for message in verdict.ledger.messages.values() for turn_id in message.turns}
    for turn_id in turns.keys() - keys.keys():
        verdict.doubled[turn_id] = "a turn that no acknowledged message has"
    for turn_id, replies in verdict.ledger.replies.items():
        if len(replies) > 1:
            verdict.doubled[keys.get(turn_id, turn_id)] = "its reply differs between reads"
    for turn_id in turns:
        call = verdict.evidence.calls.get(f"turn/{turn_id}/complete", {})
        if call.get("completed", 0) > 1 or call.get("answers", 0) > 1:
            verdict.doubled[keys.get(turn_id, turn_id)] = f"its step has {call['completed']} completed answers"
        if turns[turn_id]["status"] == "completed" and call.get("answers", 0) != 1:
            verdict.faults.append(f"turn {turn_id} is completed and its step has {call.get('answers', 0)} answers")


def _judge_events(turns: dict[str, dict[str, Any]], found: Evidence, verdict: Verdict) -> None:
    """Each event of a turn once; every event published, and none that was never committed."""
    keys = {turn_id: message.key for message in verdict.ledger.messages.values() for turn_id in message.turns}
    for kind in ("turn.queued", "turn.started", "turn.completed"):
        counts = found.turn_events(kind)
        for turn_id in turns:
            if counts[turn_id] > 1:
                verdict.doubled[keys.get(turn_id, turn_id)] = f"{counts[turn_id]} events {kind}"
            elif counts[turn_id] == 0 and turns[turn_id]["status"] == "completed":
                verdict.lost[keys.get(turn_id, turn_id)] = f"no event {kind}"
    ids = Counter(event["event_id"] for event in found.events)
    verdict.faults += [f"event id {event_id} is used {count} times" for event_id, count in ids.items() if count > 1]
    if found.sources is None:
        return
    published = Counter(event_id for _, event_id in found.published)
    for event_id in ids.keys() - published.keys():
        verdict.lost[event_id] = "the event never reached Kafka"
    for event_id in published.keys() - ids.keys():
        verdict.faults.append(f"event {event_id} was published and never committed")
    if len(found.sources) > 1:
        verdict.faults.append(f"events have the sources {sorted(found.sources)}")


def _row(
    process: str,
    ledger: Ledger,
    turns: dict[str, dict[str, Any]],
    timelines: dict[str, Timeline],
    killed: Sequence[tuple[Killed, Moment]],
) -> Row:
    row = Row(process)
    for kill, _ in killed:
        if kill.process != process:
            continue
        row.kills += 1
        steps = Counter(step for line in set(timelines.values()) if (step := line.step_at(kill.at)))
        row.inside += bool(steps)
        row.steps += steps
        row.turns |= {key for key, message in ledger.messages.items() if _under_way(message, turns, kill.at)}
    return row


def _under_way(message: Message, turns: dict[str, dict[str, Any]], moment: datetime) -> bool:
    if moment < message.first_sent:
        return False
    ends = [turns[turn_id]["completed_at"] for turn_id in message.turns if turn_id in turns]
    return not ends or any(end is None or moment < datetime.fromisoformat(end) for end in ends)
