"""Whatever fails in the gate is a denial: each port, raising, hanging or answering nonsense."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from gate_ports import DECISION_ID, SECRET_TEXT, HeldBlobs, gate_request, gate_with

from domain.blobs import BlobRef
from domain.constitution import ActiveConstitution, Severity
from domain.decisions import Decision, Verdict
from domain.errors import ConstitutionUnavailable, DependencyUnavailable
from domain.ports.moderation import Finding
from domain.ports.policy import PolicyAnswer


def codes(decision: Decision) -> list[tuple[str, str]]:
    return [(reason.checker, reason.code) for reason in decision.reasons]


async def _fail(*_: object) -> Any:
    raise DependencyUnavailable("Postgres does not answer with password=hunter2hunter2.")


async def _hang(*_: object) -> Any:
    await asyncio.sleep(60)


async def _nonsense(*_: object) -> Any:
    return "yes"


async def _none(*_: object) -> Any:
    return None


def _fail_now(*_: object) -> Any:
    raise RuntimeError("text: password=hunter2hunter2")


def _hang_now(*_: object) -> Any:
    time.sleep(0.4)
    return PolicyAnswer(verdict=Verdict.ALLOW, reasons=())


def _hang_finding_nothing(*_: object) -> Any:
    time.sleep(0.4)
    return ()


def _nonsense_now(*_: object) -> Any:
    return "yes"


def _unreasoned(*_: object) -> Any:
    return PolicyAnswer(verdict=Verdict.WARN, reasons=())


def _unexplained_transform(*_: object) -> Any:
    return PolicyAnswer(verdict=Verdict.ALLOW, reasons=(), transform="erase:everything")


def _invalid_answer(*_: object) -> Any:
    return PolicyAnswer.model_construct(verdict="fine", reasons=())


def _finding_outside(*_: object) -> Any:
    return (Finding(rule_id="r", category="c", severity=Severity.LOW, message="m", start=5, end=500),)


class _Port:
    """One method of a port, replaced by what misbehaves."""

    def __init__(self, method: str, behaviour: Callable[..., Any]) -> None:
        setattr(self, method, behaviour)

    async def ready(self, seconds: float) -> None:
        """Of a lease, which then is asked."""


class _BlobsThatCannotWrite(HeldBlobs):
    async def put(self, tenant_id: str, data: bytes, media_type: str = "text/plain") -> BlobRef:
        if b"redacted" in data:
            raise DependencyUnavailable("Postgres does not answer.")
        return await super().put(tenant_id, data, media_type)


@pytest.mark.parametrize(
    ("port", "method", "behaviour", "speaker"),
    [
        ("constitutions", "current", _fail, "constitution"),
        ("constitutions", "current", _hang, "constitution"),
        ("constitutions", "current", _nonsense, "constitution"),
        ("policy_sets", "current", _fail, "tenant-policy"),
        ("policy_sets", "current", _hang, "tenant-policy"),
        ("policy_sets", "current", _nonsense, "tenant-policy"),
        ("standing", "stands", _fail, "identity"),
        ("standing", "stands", _hang, "identity"),
        ("standing", "stands", _nonsense, "identity"),
        ("standing", "stands", _none, "identity"),
        ("kill_switches", "check", _fail_now, "kill-switch"),
        ("kill_switches", "check", _hang_now, "kill-switch"),
        ("kill_switches", "check", _nonsense_now, "kill-switch"),
        ("moderator", "review", _fail_now, "moderation"),
        ("moderator", "review", _hang_finding_nothing, "moderation"),
        ("moderator", "review", _nonsense_now, "moderation"),
        ("moderator", "review", _finding_outside, "moderation"),
        ("policy", "evaluate", _fail_now, "policy"),
        ("policy", "evaluate", _hang_now, "policy"),
        ("policy", "evaluate", _nonsense_now, "policy"),
        ("policy", "evaluate", _unreasoned, "policy"),
        ("policy", "evaluate", _unexplained_transform, "policy"),
        ("policy", "evaluate", _invalid_answer, "policy"),
        ("blobs", "get", _fail, "moderation"),
        ("blobs", "get", _hang, "moderation"),
        ("blobs", "get", _nonsense, "moderation"),
    ],
)
async def test_what_raises_hangs_or_answers_nonsense_denies(
    port: str, method: str, behaviour: Callable[..., Any], speaker: str, caplog: pytest.LogCaptureFixture
) -> None:
    blobs = HeldBlobs()
    reference = await blobs.put("demo", b"Hello")
    ports: dict[str, Any] = {"blobs": blobs} | {port: _Port(method, behaviour)}
    started = time.perf_counter()
    with caplog.at_level(logging.DEBUG):
        decision, snapshot = await gate_with(**ports, seconds=0.25).decide(gate_request(reference), DECISION_ID)
    assert time.perf_counter() - started < 5
    assert decision.verdict is Verdict.DENY
    assert codes(decision)[-1] == (speaker, "checker-failed")
    assert snapshot["verdict"] == "deny"
    assert "hunter2" not in caplog.text + decision.model_dump_json() + json.dumps(snapshot)


async def test_a_large_text_that_takes_too_long_is_denied() -> None:
    blobs = HeldBlobs()
    reference = await blobs.put("demo", b"a " * 8_000)
    slow = _Port("review", _hang_finding_nothing)
    decision, _ = await gate_with(blobs=blobs, moderator=slow, seconds=0.1).decide(gate_request(reference), DECISION_ID)
    assert codes(decision) == [("moderation", "checker-failed")]


async def test_a_transformed_text_that_cannot_be_stored_denies() -> None:
    blobs = _BlobsThatCannotWrite()
    reference = await blobs.put("demo", SECRET_TEXT.encode())
    decision, _ = await gate_with(blobs=blobs).decide(gate_request(reference), DECISION_ID)
    assert (decision.verdict, codes(decision)[-1]) == (Verdict.DENY, ("transform", "checker-failed"))


async def test_text_that_is_no_utf8_denies() -> None:
    blobs = HeldBlobs()
    reference = await blobs.put("demo", b"\xff\xfe")
    decision, _ = await gate_with(blobs=blobs).decide(gate_request(reference), DECISION_ID)
    assert codes(decision) == [("moderation", "checker-failed")]


async def test_without_a_constitution_the_code_says_so() -> None:
    async def unavailable() -> ActiveConstitution:
        raise ConstitutionUnavailable("The store holds no constitution; activate one.")

    decision, snapshot = await gate_with(constitutions=_Port("current", unavailable)).decide(gate_request(), DECISION_ID)
    assert (decision.verdict, codes(decision)) == (Verdict.DENY, [("constitution", "constitution-unavailable")])
    assert decision.reasons[0].message == "The store holds no constitution; activate one."
    assert (decision.constitution_hash, decision.policy_digest, snapshot["constitution_hash"]) == (None, None, None)


async def test_cancelling_the_caller_is_not_a_decision() -> None:
    asked = asyncio.Event()

    async def hang(*_: object) -> Any:
        asked.set()
        await asyncio.sleep(60)

    deciding = asyncio.create_task(gate_with(standing=_Port("stands", hang), seconds=30.0).decide(gate_request(), DECISION_ID))
    await asked.wait()
    deciding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await deciding
