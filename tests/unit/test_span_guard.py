"""What leaves of an answer that is being written: only what output moderation lets pass, and that soon."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from typing import Any

import pytest
from gate_ports import ACTIVE, ACTOR, MODERATOR, HeldConstitution
from hypothesis import given, settings
from hypothesis import strategies as st

from activities.streaming import SURE_CHARACTERS, GuardedStreams, SpanGuard
from domain.constitution import ActiveConstitution, Constitution, ModerationRule, Principle, Severity
from domain.errors import ConstitutionUnavailable, ModelContentFiltered, ModelStreamBroken
from domain.models import SlmCall
from domain.ports.moderation import Finding
from domain.spans import LONGEST, WINDOW_CHARACTERS

HARMLESS = "The museum opens at nine. It has a garden, and a café where people sit and read. Bring a coat. "
HARMFUL = "Here is how to build a pipe bomb from parts of a kitchen. "
SECRET = "Use the key AKIAIOSFODNN7EXAMPLE for it. "

_RULE = {"id": "r", "category": "c", "severity": "high", "message": "m"}


class Taken:
    """What was released, as its reader puts it together."""

    def __init__(self) -> None:
        self.pieces: list[str] = []

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    async def __call__(self, start: int, text: str) -> None:
        assert start == len(self.text)
        self.pieces.append(text)


class Carried:
    """A carrier in memory."""

    def __init__(self) -> None:
        self.said: list[tuple[Any, ...]] = []

    async def append(self, tenant_id: str, request_id: str, attempt: int, start: int, text: str) -> None:
        self.said.append((tenant_id, request_id, attempt, start, text))

    async def end(self, tenant_id: str, request_id: str, attempt: int) -> None:
        self.said.append((tenant_id, request_id, attempt, "end"))


class NoConstitution:
    """A source that has none."""

    async def current(self) -> ActiveConstitution:
        raise ConstitutionUnavailable("None verifies.")

    async def refreshed(self) -> ActiveConstitution:
        return await self.current()


class FailingModerator:
    """Answers with what it is given, after so many good answers."""

    def __init__(self, answer: Any, good: int = 0) -> None:
        self._answer, self._good = answer, good

    def review(self, *_: object) -> tuple[Finding, ...]:
        self._good -= 1
        if self._good >= 0:
            return ()
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer

    def check(self, *_: object) -> tuple[str, ...]:
        return ()


def ruled(*rules: dict[str, Any]) -> ActiveConstitution:
    """A constitution of these rules for output."""
    document = Constitution(
        version=1,
        issued_at=datetime(2026, 1, 1, tzinfo=UTC),
        title="t",
        principles=(Principle(id="p", title="t", body="b"),),
        moderation=tuple(
            ModerationRule.model_validate({"id": "r", "category": "c", "severity": "high", "message": "m"} | rule)
            for rule in rules
        ),
        policies="",
    )
    digest = hashlib.sha256(document.model_dump_json().encode()).hexdigest()
    return ActiveConstitution(document=document, hash=digest, policy_digest="0" * 64, key_id="k")


def guard(taken: Taken, active: ActiveConstitution = ACTIVE) -> SpanGuard:
    return SpanGuard(HeldConstitution(active), MODERATOR, taken)


async def fed(text: str, taken: Taken, active: ActiveConstitution = ACTIVE, size: int = 7) -> None:
    """The text in pieces, to its end."""
    guarding = guard(taken, active)
    for start in range(0, len(text), size):
        await guarding.feed(text[start : start + size])
    await guarding.finish()


async def test_harmless_text_leaves_sentence_by_sentence() -> None:
    taken = Taken()
    guarding = guard(taken)
    for character in "One sentence. Another on":
        await guarding.feed(character)
    assert taken.pieces == ["One sentence."]
    await guarding.feed("e. ")
    assert taken.pieces == ["One sentence.", " Another one."]
    await guarding.finish()
    assert taken.text == "One sentence. Another one. "


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([HARMLESS, "word " * 60, "\n\n", "x" * 250, "1. "]), max_size=12), st.integers(1, 300))
async def test_all_of_a_harmless_text_leaves_in_order(parts: list[str], size: int) -> None:
    taken, text = Taken(), "".join(parts)
    await fed(text, taken, size=size)
    assert taken.text == text
    assert all(len(piece) <= LONGEST for piece in taken.pieces)


async def test_a_very_long_text_leaves_whole() -> None:
    taken, text = Taken(), HARMLESS * 600
    assert len(text) > 5 * WINDOW_CHARACTERS
    await fed(text, taken, size=400)
    assert taken.text == text


@pytest.mark.parametrize("before", ["", HARMLESS, HARMLESS * 150])
async def test_a_denied_span_ends_the_call_and_nothing_of_it_leaves(before: str) -> None:
    taken = Taken()
    with pytest.raises(ModelContentFiltered) as raised:
        await fed(before + HARMFUL + HARMLESS * 3, taken)
    assert taken.text == before.rstrip()
    assert "weapon-making" in raised.value.detail
    assert "pipe" not in raised.value.detail


async def test_a_phrase_may_begin_in_a_span_that_left() -> None:
    taken = Taken()
    text = "So that is how to build what we need. A pipe bomb is what I mean by that, as you may know. "
    with pytest.raises(ModelContentFiltered):
        await fed(text + HARMLESS * 3, taken, ruled({"patterns": ["build what we need a pipe bomb"]}))
    assert taken.text == "So that is how to build what we need."


async def test_a_phrase_stretched_with_blanks_is_still_one() -> None:
    taken, blanks = Taken(), " . " * 2_000
    rules = ruled({"patterns": ["pipe bomb"]})
    with pytest.raises(ModelContentFiltered):
        await fed(f"It is a pipe{blanks}bomb. " + HARMLESS * 3, taken, rules, size=50)
    assert "bomb" not in taken.text


async def test_where_nobody_can_tell_what_belongs_together_nothing_more_leaves() -> None:
    taken = Taken()
    await fed(
        "It is a pipe" + " . " * WINDOW_CHARACTERS + "bomb. " + HARMLESS, taken, ruled({"patterns": ["pipe bomb"]}), size=50
    )
    assert "bomb" not in taken.text
    assert "museum" not in taken.text


@pytest.mark.parametrize("severity", [Severity.LOW, Severity.MEDIUM])
async def test_what_the_final_review_may_refuse_or_change_is_held_back(severity: Severity) -> None:
    taken = Taken()
    rules = ruled({"patterns": ["forbidden fruit"], "severity": severity.value})
    await fed(f"{HARMLESS}The forbidden fruit. {HARMLESS * 5}", taken, rules)
    assert taken.text == HARMLESS.rstrip()


async def test_a_secret_does_not_leave() -> None:
    """The policy takes it out of the answer, so the stream must not show it before."""
    taken = Taken()
    await fed(HARMLESS + SECRET + HARMLESS, taken)
    assert taken.text == HARMLESS.rstrip()


async def test_what_turns_out_to_be_harmless_goes_on() -> None:
    """A span may end in the middle of what makes it so."""
    rules = ruled({"patterns": ["build a bomb"], "exceptions": ["build a bomb. shelter", "build a bomb shelter"]})
    taken, text = Taken(), f"{HARMLESS}They build a bomb. Shelter is needed. {HARMLESS * 4}"
    await fed(text, taken, rules)
    assert taken.text == text
    held = Taken()
    guarding = guard(held, rules)
    await guarding.feed("They build a bomb. ")
    assert held.pieces == []
    with pytest.raises(ModelContentFiltered):
        await guarding.feed("x " * SURE_CHARACTERS + ". ")


async def test_a_window_that_begins_in_the_middle_does_not_condemn() -> None:
    """What makes it harmless stands before the window."""
    rules = ruled({"patterns": ["marker end"], "exceptions": ["harmless (?:\\w+ ){150}marker end"]})
    taken = Taken()
    text = HARMLESS + "harmless " + "abcdefgh " * 150 + "marker end of it. " + HARMLESS * 3
    await fed(text, taken, rules, size=40)
    assert taken.text == text


@pytest.mark.parametrize("after", ["", " and so on" * 13])
async def test_what_is_found_at_the_very_end_is_left_to_the_final_review(after: str) -> None:
    taken = Taken()
    await fed(HARMLESS + HARMFUL.rstrip(". ") + after, taken)
    assert taken.text == HARMLESS.rstrip()


async def test_without_a_constitution_nothing_leaves() -> None:
    taken = Taken()
    guarding = SpanGuard(NoConstitution(), MODERATOR, taken)
    await guarding.feed(HARMLESS)
    await guarding.finish()
    assert taken.pieces == []


@pytest.mark.parametrize("answer", [RuntimeError(HARMFUL), None, ("nonsense",), [], True])
async def test_a_check_that_errs_ends_the_releasing(answer: Any, caplog: pytest.LogCaptureFixture) -> None:
    taken = Taken()
    guarding = SpanGuard(HeldConstitution(ACTIVE), FailingModerator(answer, good=1), taken)
    await guarding.feed(HARMLESS)
    await guarding.feed(HARMLESS)
    await guarding.finish()
    assert taken.text == "The museum opens at nine."
    assert "pipe" not in caplog.text
    assert "Nothing more of a stream is released" in caplog.text


def call(**changes: Any) -> SlmCall:
    return SlmCall(actor=ACTOR, role="dialogue_reasoning", request_id=f"slm_{'0' * 32}", stream=True, **changes)


async def test_a_stream_is_carried_under_the_attempts_number_and_its_end_told() -> None:
    carried = Carried()
    streams = GuardedStreams(streams=carried, constitutions=HeldConstitution(ACTIVE), moderator=MODERATOR)
    async with streams.opened(call(number=2), 3) as stream:
        await stream.feed("One. Two.")
    about = ("demo", f"slm_{'0' * 32}", 2003)
    assert carried.said == [(*about, 0, "One."), (*about, 4, " Two."), (*about, "end")]


async def test_the_end_is_told_when_the_call_fails_and_what_is_held_stays() -> None:
    carried = Carried()
    streams = GuardedStreams(streams=carried, constitutions=HeldConstitution(ACTIVE), moderator=MODERATOR)

    async def failing() -> None:
        async with streams.opened(call(), 1) as stream:
            await stream.feed("One. Two")
            raise ModelStreamBroken("It broke off.")

    with pytest.raises(ModelStreamBroken):
        await failing()
    assert [said[3:] for said in carried.said] == [(0, "One."), ("end",)]


async def test_a_call_without_a_reader_is_not_carried() -> None:
    carried = Carried()
    streams = GuardedStreams(streams=carried, constitutions=HeldConstitution(ACTIVE), moderator=MODERATOR)
    async with streams.opened(SlmCall(actor=ACTOR, role="dialogue_reasoning"), 1) as stream:
        await stream.feed(HARMLESS)
    assert carried.said == []
