"""Moderation with RE2: linear in the length of the text, whatever the patterns are.

A first pass asks one automaton which rules match at all; only those are then searched for their places. What surprises: the
automaton may answer "nothing" when it runs out of memory. So it also holds a pattern that matches always, and when that is
missing from the answer every rule is searched by itself.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from adapters.patterns import EDGE, PatternError, compile_re2, search_set, translate
from domain.constitution import ActiveConstitution, Constitution, Direction, ModerationRule
from domain.errors import Unprocessable
from domain.folding import Folded, fold
from domain.ports.moderation import Finding

MAX_MATCHES: Final = 1_000
"""Matches of one rule that are told apart; the last then reaches to the end of the text."""

_KEPT: Final = 8
_LETTERS: Final = re.compile(rb"[a-z0-9\x80-\xff]")
_SET_BYTES: Final = 64 * 1024 * 1024


class Re2Moderator:
    """Implements `domain.ports.moderation.Moderator`. Rule sets are compiled once and kept by constitution hash."""

    def __init__(self, set_bytes: int = _SET_BYTES) -> None:
        """`set_bytes` bounds the memory of the first pass, per direction."""
        self._set_bytes = set_bytes
        self._lock = threading.Lock()
        self._compiled: OrderedDict[tuple[str, Direction], _RuleSet] = OrderedDict()

    def review(self, constitution: ActiveConstitution, text: str, direction: Direction) -> tuple[Finding, ...]:
        """Every match of every rule, in the order of the text. Raises Unprocessable when a rule does not compile."""
        rules = self._rules(constitution, direction)
        folded = fold(text)
        found = list(rules.search(folded))
        found.sort(key=lambda finding: (finding.start, -finding.end))
        return tuple(found)

    def check(self, constitution: Constitution) -> tuple[str, ...]:
        """What is wrong with the rules; empty when nothing is."""
        problems: list[str] = []
        seen: set[str] = set()
        for rule in constitution.moderation:
            if rule.id in seen:
                problems.append(f"The moderation rule {rule.id} stands there twice.")
            seen.add(rule.id)
            for kind, patterns in (("Pattern", rule.patterns), ("Exception", rule.exceptions)):
                for number, pattern in enumerate(patterns, 1):
                    try:
                        translate(pattern)
                    except PatternError as error:
                        problems.append(f"{kind} {number} of the moderation rule {rule.id} cannot be used: {error}.")
        if not problems:
            for direction in (Direction.INPUT, Direction.OUTPUT):
                try:
                    _RuleSet(_of(constitution, direction), self._set_bytes)
                except PatternError as error:
                    problems.append(f"The moderation rules for {direction.value} cannot be used: {error}.")
        return tuple(problems)

    def _rules(self, constitution: ActiveConstitution, direction: Direction) -> _RuleSet:
        key = (constitution.hash, direction)
        with self._lock:
            rules = self._compiled.get(key)
            if rules is None:
                try:
                    rules = _RuleSet(_of(constitution.document, direction), self._set_bytes)
                except PatternError as error:
                    raise Unprocessable(f"A moderation rule cannot be used: {error}; correct the constitution.") from None
                self._compiled[key] = rules
                if len(self._compiled) > _KEPT:
                    self._compiled.popitem(last=False)
            else:
                self._compiled.move_to_end(key)
        return rules


def _of(constitution: Constitution, direction: Direction) -> tuple[ModerationRule, ...]:
    return tuple(rule for rule in constitution.moderation if rule.direction in (direction, Direction.BOTH))


def _any(patterns: Sequence[str]) -> str:
    return "|".join(f"(?:{translate(pattern)})" for pattern in patterns)


def _search(patterns: Sequence[str]) -> Any:
    """The patterns as one, between edges; group 1 is the match."""
    return compile_re2(rf"(?:\A|{EDGE})({_any(patterns)})(?:\z|{EDGE})")


class _RuleSet:
    """The rules of one direction, compiled."""

    def __init__(self, rules: Sequence[ModerationRule], set_bytes: int) -> None:
        self._rules = rules
        self._searches: list[Any] = [_search(rule.patterns) for rule in rules]
        self._exceptions: list[Any] = [_search(rule.exceptions) if rule.exceptions else None for rule in rules]
        self._set: Any = search_set([*(rf"(?:\A|{EDGE})(?:{_any(rule.patterns)})(?:\z|{EDGE})" for rule in rules), ""], set_bytes)

    def search(self, folded: Folded) -> Iterator[Finding]:
        data = folded.text.encode()
        for index in self._candidates(data):
            rule = self._rules[index]
            read = _blotted(self._exceptions[index], data)
            spans = _to_the_end(_matches(self._searches[index], read), len(data))
            for start, end in _in_characters(spans, folded.text, data):
                begin, finish = folded.span(start, end)
                yield Finding(
                    rule_id=rule.id,
                    category=rule.category,
                    severity=rule.severity,
                    message=rule.message,
                    start=begin,
                    end=finish,
                )

    def _candidates(self, data: bytes) -> Sequence[int]:
        always = len(self._rules)
        matched: list[int] = self._set.Match(data) or []
        return sorted(index for index in matched if index != always) if always in matched else range(always)


def _matches(search: Any, data: bytes) -> Iterator[tuple[int, int]]:
    """Byte spans, `MAX_MATCHES` at most. The next search begins at a match's end: its right edge may be the next one's left."""
    position = 0
    for _ in range(MAX_MATCHES):
        match = search.search(data, position)
        if match is None:
            return
        start, position = match.span(1)
        yield start, position


def _to_the_end(spans: Iterator[tuple[int, int]], length: int) -> Iterator[tuple[int, int]]:
    """The spans; the last that is told apart covers all that may follow."""
    for number, (start, end) in enumerate(spans, 1):
        yield start, length if number == MAX_MATCHES else end


def _blotted(exceptions: Any, data: bytes) -> bytes:
    """The text with underscores for the letters of harmless phrases, so that it stays as long and keeps its words."""
    if exceptions is None:
        return data
    parts: list[bytes] = []
    done = 0
    for start, end in _matches(exceptions, data):
        parts += [data[done:start], _LETTERS.sub(b"_", data[start:end])]
        done = end
    return b"".join([*parts, data[done:]])


def _in_characters(spans: Iterator[tuple[int, int]], text: str, data: bytes) -> Iterator[tuple[int, int]]:
    """Byte spans of the encoded text as spans of characters, in one walk along it."""
    if text.isascii():
        yield from spans
        return
    counted, characters = 0, 0
    for start, end in spans:
        characters += len(data[counted:start].decode())
        first = characters
        characters += len(data[start:end].decode())
        counted = end
        yield first, characters
