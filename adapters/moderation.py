"""Moderation with RE2: linear in the length of the text, whatever the patterns are.

A first pass asks one automaton which rules match at all; only those are then searched for their places. What surprises: the
automaton may answer "nothing" when it runs out of memory. So it also holds a pattern that matches always, and when that is
missing from the answer every rule is searched by itself.

Around words that were written letter by letter ("k i l l m e") the rules are read a second time without minding where words
end, since nobody can know there.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from adapters.patterns import EDGE, PatternError, compile_re2, require_usable, search_set, translate
from domain.constitution import ActiveConstitution, Constitution, Direction, ModerationRule
from domain.errors import Unprocessable
from domain.folding import Folded, fold
from domain.ports.moderation import Finding

MAX_MATCHES: Final = 1_000
"""Matches of one rule that are told apart; the last then reaches to the end of the text."""

_KEPT: Final = 8
_SPELLED: Final = 5
_AROUND: Final = 80
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
        found = dict.fromkeys(rules.search(folded))
        return tuple(sorted(found, key=lambda finding: (finding.start, -finding.end, finding.rule_id)))

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
                        require_usable(pattern)
                    except PatternError as error:
                        problems.append(f"{kind} {number} of the moderation rule {rule.id} cannot be used: {error}.")
        for direction in (Direction.INPUT, Direction.OUTPUT) if not problems else ():
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


def _any(patterns: Sequence[str], *, loose: bool) -> str:
    return "|".join(f"(?:{translate(pattern, loose=loose)})" for pattern in patterns)


@lru_cache(maxsize=1_000)
def _search(patterns: tuple[str, ...], *, loose: bool) -> Any:
    """The patterns as one, whose group 1 is the match: between edges, or `loose`, where words have no known ends.

    Kept by the patterns: both directions use most of them, and a new constitution usually changes few.
    """
    if not patterns:
        return None
    body = _any(patterns, loose=loose)
    return compile_re2(f"({body})" if loose else rf"(?:\A|{EDGE})({body})(?:\z|{EDGE})")


@dataclass(frozen=True)
class _Reading:
    """One rule compiled in one way."""

    rule: ModerationRule
    patterns: Any
    exceptions: Any

    def spans(self, text: str, data: bytes) -> Iterator[tuple[int, int]]:
        """Spans of characters that break the rule. `data` is the text, encoded."""
        matches = _matches(self.patterns, _blotted(self.exceptions, data))
        return _in_characters(_to_the_end(matches, len(data)), text, data)


def _reading(rule: ModerationRule, *, loose: bool) -> _Reading:
    return _Reading(rule, _search(rule.patterns, loose=loose), _search(rule.exceptions, loose=loose))


class _RuleSet:
    """The rules of one direction, compiled."""

    def __init__(self, rules: Sequence[ModerationRule], set_bytes: int) -> None:
        self._strict = [_reading(rule, loose=False) for rule in rules]
        self._loose = [_reading(rule, loose=True) for rule in rules]
        bodies = [rf"(?:\A|{EDGE})(?:{_any(rule.patterns, loose=False)})(?:\z|{EDGE})" for rule in rules]
        self._set: Any = search_set([*bodies, ""], set_bytes)

    def search(self, folded: Folded) -> Iterator[Finding]:
        """Findings, in the order of the rules; one twice at most."""
        data = folded.text.encode()
        for index in self._candidates(data):
            reading = self._strict[index]
            for start, end in reading.spans(folded.text, data):
                yield _finding(reading.rule, folded, start, end)
        for left, right in _windows(folded):
            part = folded.text[left:right]
            data = part.encode()
            for reading in self._loose:
                for start, end in reading.spans(part, data):
                    yield _finding(reading.rule, folded, left + start, left + end)

    def _candidates(self, data: bytes) -> Sequence[int]:
        always = len(self._strict)
        matched: list[int] = self._set.Match(data) or []
        return sorted(index for index in matched if index != always) if always in matched else range(always)


def _finding(rule: ModerationRule, folded: Folded, start: int, end: int) -> Finding:
    begin, finish = folded.span(start, end)
    return Finding(rule_id=rule.id, category=rule.category, severity=rule.severity, message=rule.message, start=begin, end=finish)


def _windows(folded: Folded) -> Iterator[tuple[int, int]]:
    """The surroundings of what was put together from single letters; those that touch are one."""
    left, right = 0, -1
    for start, end in folded.spelled:
        if end - start < _SPELLED:
            continue
        if start - _AROUND > right:
            if right >= 0:
                yield left, right
            left = max(0, start - _AROUND)
        right = end + _AROUND
    if right >= 0:
        yield left, right


def _matches(search: Any, data: bytes) -> Iterator[tuple[int, int]]:
    """Byte spans without blanks at their ends, `MAX_MATCHES` at most.

    The next search begins at a match's end: its right edge may be the next one's left.
    """
    position = 0
    for _ in range(MAX_MATCHES):
        match = search.search(data, position)
        if match is None:
            return
        start, position = match.span(1)
        yield start, start + len(data[start:position].rstrip())


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
