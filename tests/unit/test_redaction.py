"""Redaction takes out what was found, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.constitution import Severity
from domain.ports.moderation import Finding
from domain.redaction import categories, redact

TEXT = "key=abc, name=Ada, key=def"


def finding(start: int, end: int, category: str = "secret") -> Finding:
    return Finding(rule_id="r", category=category, severity=Severity.LOW, message="m", start=start, end=end)


def test_every_finding_of_the_category_is_replaced() -> None:
    findings = [finding(4, 7), finding(14, 17, "name"), finding(23, 26)]
    assert redact(TEXT, findings, frozenset({"secret"})) == "key=[redacted:secret], name=Ada, key=[redacted:secret]"
    assert redact(TEXT, findings, frozenset({"name"})) == "key=abc, name=[redacted:name], key=def"
    assert redact(TEXT, findings, frozenset()) == TEXT


def test_overlapping_findings_are_one_replacement() -> None:
    findings = [finding(4, 7), finding(5, 12, "name"), finding(4, 6, "name")]
    assert redact(TEXT, findings, frozenset({"secret", "name"})) == "key=[redacted:secret]e=Ada, key=def"


def test_neighbouring_findings_are_two() -> None:
    assert redact("abcd", [finding(2, 4), finding(0, 2)], frozenset({"secret"})) == "[redacted:secret][redacted:secret]"


@given(st.text(alphabet="abc \u20ac\U0001f600", min_size=1, max_size=30), st.data())
def test_no_character_of_a_finding_survives(text: str, data: st.DataObject) -> None:
    spans = data.draw(st.lists(st.tuples(st.integers(0, len(text) - 1), st.integers(1, len(text))), max_size=6))
    findings = [finding(start, max(start + 1, end)) for start, end in spans]
    hidden = {index for found in findings for index in range(found.start, found.end)}
    rest = redact(text, findings, frozenset({"secret"})).replace("[redacted:secret]", "")
    assert rest == "".join(character for index, character in enumerate(text) if index not in hidden)


def test_instructions() -> None:
    assert categories("redact:secret") == {"secret"}
    assert categories("redact:secret redact:personal-data") == {"secret", "personal-data"}


@pytest.mark.parametrize(
    "text", ["", "redact", "redact:", "redact:Secret", "erase:secret", "redact:a  redact:b", " redact:a", "redact:a\n"]
)
def test_other_instructions_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="redact:<category>"):
        categories(text)
