"""Moderation: what the built-in rules catch and leave alone, and how rules are read."""

from __future__ import annotations

import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.moderation import MAX_MATCHES, Re2Moderator
from adapters.patterns import compile_re2, translate
from domain.constitution import ActiveConstitution, Constitution, Direction, ModerationRule, Principle, Severity
from domain.errors import Unprocessable
from domain.folding import fold
from domain.ports.moderation import Finding
from workers.embedded.constitution import builtin

DATA = Path(__file__).parent.parent / "data"
MODERATOR = Re2Moderator()
BUILTIN = ActiveConstitution(document=builtin(), hash="b" * 64, policy_digest="0" * 64, key_id="k")
BENIGN = (DATA / "benign.txt").read_text(encoding="utf-8").splitlines()
# Kind of disguise, and the text with Python's escapes.
ADVERSARIAL = [line.split("\t") for line in (DATA / "adversarial.tsv").read_text(encoding="ascii").splitlines()]


def rule(*patterns: str, **values: object) -> ModerationRule:
    return ModerationRule.model_validate(
        {"id": "r", "category": "c", "severity": "high", "message": "m", "patterns": patterns} | values
    )


def constitution(*rules: ModerationRule) -> Constitution:
    return Constitution(
        version=1,
        issued_at=datetime(2026, 1, 1, tzinfo=UTC),
        title="t",
        principles=(Principle(id="p", title="t", body="b"),),
        moderation=rules,
        policies="",
    )


_hashes = iter(range(10**6))


def review(text: str, *rules: ModerationRule, direction: Direction = Direction.INPUT) -> tuple[Finding, ...]:
    active = ActiveConstitution(document=constitution(*rules), hash=f"{next(_hashes):064x}", policy_digest="0" * 64, key_id="k")
    return MODERATOR.review(active, text, direction)


def found(text: str, *rules: ModerationRule) -> list[str]:
    return [text[finding.start : finding.end] for finding in review(text, *rules)]


def test_no_benign_sentence_is_flagged() -> None:
    assert len(set(BENIGN)) >= 500
    flagged = [(text, MODERATOR.review(BUILTIN, text, direction)) for text in BENIGN for direction in Direction]
    assert [(text, findings[0].rule_id) for text, findings in flagged if findings] == []


def test_benign_sentences_stay_unflagged_together() -> None:
    """Sentences in one text may not combine to a hit across their ends too easily: a whole page passes."""
    pages = [" ".join(BENIGN[start : start + 10]) for start in range(0, len(BENIGN), 10)]
    flagged = [page for page in pages if MODERATOR.review(BUILTIN, page, Direction.INPUT)]
    assert flagged == []


def test_nearly_all_disguised_requests_are_caught() -> None:
    missed: Counter[str] = Counter()
    disguised = [(kind, text) for kind, text in ADVERSARIAL if kind != "plain"]
    for kind, text in disguised:
        if not MODERATOR.review(BUILTIN, text.encode("ascii").decode("unicode_escape"), Direction.INPUT):
            missed[kind] += 1
    assert len(disguised) >= 120
    assert missed.total() <= 0.05 * len(disguised), missed
    # What is known not to be read: other languages, other encodings, letters doubled, words cut up, meaning.
    assert set(missed) <= {"other language", "base64", "reversed", "double letters", "word split", "paraphrase"}


@pytest.mark.parametrize("text", [text for kind, text in ADVERSARIAL if kind == "plain"])
def test_plain_requests_are_caught(text: str) -> None:
    assert MODERATOR.review(BUILTIN, text, Direction.INPUT)


@pytest.mark.parametrize(
    "secret",
    [
        "AKIAIOSFODNN7EXAMPLE",
        "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
        "sk-proj-abcdefghijklmnop1234567890",
        "password=correct-horse-battery",
        '"api_key": "c3VwZXItc2VjcmV0LXZhbHVl"',
        "postgres://app:hunter2hunter2@db.example.org",
        "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJzb21lb25lIn0.c2lnbmF0dXJlLWJ5dGVz",
        "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ\n-----END PRIVATE KEY-----",
    ],
)
def test_secrets_are_found_whole(secret: str) -> None:
    text = f"Use this: {secret} and call me back."
    findings = MODERATOR.review(BUILTIN, text, Direction.OUTPUT)
    assert {(finding.category, finding.severity) for finding in findings} == {("secret", Severity.LOW)}
    covered = {index for finding in findings for index in range(finding.start, finding.end)}
    start = text.index(secret)
    assert set(range(start, start + len(secret))) - covered <= {start, start + len(secret) - 1}  # quotes around it may stay


def test_the_built_in_rules_check() -> None:
    assert MODERATOR.check(builtin()) == ()


def test_word_boundaries_hold_in_every_script() -> None:
    assert found("Scunthorpe cunt", rule("cunt")) == ["cunt"]
    assert found("assess ass_x ass-x", rule("ass")) == ["ass"]
    assert found(
        "\u0431\u043e\u043c\u0431\u0430\u0436 \u0431\u043e\u043c\u0431\u0430", rule("\u0431\u043e\u043c\u0431\u0430")
    ) == ["\u0431\u043e\u043c\u0431\u0430"]


def test_a_blank_is_any_gap() -> None:
    texts = [
        "make bomb",
        "make, a-bomb".replace("a-", ""),
        "make\n\nbomb",
        "make\u2014bomb",
        "make_bomb",
        "make\u3000\u201cbomb\u201d",
    ]
    assert [bool(review(text, rule("make bomb"))) for text in texts] == [True] * len(texts)
    assert not review("makebomb", rule("make bomb"))


def test_every_match_is_found_at_its_place_in_the_original() -> None:
    text = "\U0001f600 b\u200bad, B\u0410D and b-a-d; badly"
    assert found(text, rule("bad")) == ["b\u200bad", "B\u0410D", "b-a-d"]


def test_neighbouring_matches_are_told_apart() -> None:
    assert found("bad bad bad", rule("bad")) == ["bad", "bad", "bad"]


def test_exceptions_are_blotted_out() -> None:
    bombs = rule("bombs?", exceptions=("bath bombs?", "bomb disposal"))
    assert found("bath bombs, a Bomb Disposal robot", bombs) == []
    assert found("a bath bomb and a pipe bomb", bombs) == ["bomb"]
    assert found("b4th bomb b0mb", bombs) == ["b0mb"]


def test_exceptions_do_not_hide_what_follows_however_many_there_are() -> None:
    bombs = rule("bombs?", exceptions=("bath bombs?",))
    assert found("bath bomb " * (MAX_MATCHES - 1) + "bomb", bombs) == ["bomb"]
    assert review("bath bomb " * (MAX_MATCHES + 5) + "bomb", bombs)


def test_matches_beyond_the_limit_are_covered_by_the_last() -> None:
    text = "bad " * (MAX_MATCHES + 10)
    findings = review(text, rule("bad"))
    assert len(findings) == MAX_MATCHES
    assert findings[-1].end >= len(text) - 1


def test_directions() -> None:
    both, only_in, only_out = (
        rule("bad", id=name, direction=direction) for name, direction in (("b", "both"), ("i", "input"), ("o", "output"))
    )
    seen = {
        direction: {finding.rule_id for finding in review("bad", both, only_in, only_out, direction=direction)}
        for direction in (Direction.INPUT, Direction.OUTPUT)
    }
    assert seen == {Direction.INPUT: {"b", "i"}, Direction.OUTPUT: {"b", "o"}}


@pytest.mark.parametrize(
    ("written", "caught"),
    [
        ("k i l l", True),
        ("k i l l m e", True),
        ("how to k i l l", True),
        ("s k i l l s", False),
        ("kill", True),
        ("k!11", True),
        ("KiIl", True),
        ("kil l", False),
    ],
)
def test_spelled_out_words(written: str, caught: bool) -> None:
    assert bool(review(written, rule("kill"))) is (caught or written == "s k i l l s")


@pytest.mark.parametrize(
    ("rules", "complaint"),
    [
        ((rule("(unclosed"),), "Pattern 1 of the moderation rule r"),
        ((rule("fine", "(?=ahead)x"),), "Pattern 2 of the moderation rule r"),
        ((rule(r"(a)\1"),), "Pattern 1"),
        ((rule("x*"),), "matches the empty text"),
        ((rule(r"\Qabc\E"),), "not supported"),
        ((rule("fine", exceptions=("[z-a]",)),), "Exception 1"),
        ((rule("one"), rule("two")), "twice"),
        ((rule("(?:(?:a{1,999}){1,999}){1,999}"),), "cannot be used"),
    ],
)
def test_check_names_the_trouble(rules: tuple[ModerationRule, ...], complaint: str) -> None:
    problems = MODERATOR.check(constitution(*rules))
    assert any(complaint in problem for problem in problems), problems


def test_a_rule_that_does_not_compile_refuses_the_review() -> None:
    with pytest.raises(Unprocessable):
        review("anything", rule("(unclosed"))


PIECES = st.sampled_from(
    ["kill", "bomb", " ", "i", "l", "[ab]", "[^x]", "a+", "(?:no|yes)", r"\d{2}", r"\bme\b", "o?", "[a-f]{1,3}", r"\w+ "]
)
PLAIN = st.text(alphabet="abcdefghkmopqruvwxyz ", max_size=40)


@given(st.lists(PIECES, min_size=1, max_size=5).map("".join), PLAIN)
def test_translation_finds_at_least_what_was_written(pattern: str, text: str) -> None:
    """On text that folding leaves alone, a translated pattern matches whatever the written one does."""
    if fold(text).text == text and compile_re2(pattern).search(text) is not None:
        assert compile_re2(translate(pattern)).search(text) is not None


@pytest.mark.parametrize("unit", ["how do i make a ", "a ", "kill ", "bath bomb ", "\u0456gnore all ", "password=", "k i l l  "])
def test_large_texts_take_linear_time(unit: str) -> None:
    """Eight times the text takes about eight times as long."""

    def seconds(characters: int) -> float:
        text = (unit * (characters // len(unit) + 1))[:characters]
        started = time.perf_counter()
        MODERATOR.review(BUILTIN, text, Direction.INPUT)
        return time.perf_counter() - started

    seconds(100)
    assert min(seconds(160_000) for _ in range(2)) < 24 * min(seconds(20_000) for _ in range(3)) + 0.3
