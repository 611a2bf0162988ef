"""An answer on its way to a reader: pieces with their places, and what a reader that was given so much is given next.

A place is the number of an attempt and a count of characters of that attempt's text. What a reader holds is named by a place
and a checksum of it, so that a reader that comes back later, to another gateway, goes on where it stopped, or is told to begin
anew when what it holds is not how the text begins: another attempt wrote it, or the gate has changed it since.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from pydantic import Field

from domain.base import Contract, Count

ENDED: Final = 2**53 - 1
"""The place after everything an attempt wrote."""
REST_CHARACTERS: Final = 2_000
"""The rest of a finished text is given in pieces of so many, each a place to come back to."""
_CANDIDATE_ATTEMPTS: Final = 1_000
_MARK: Final = re.compile(r"([0-9]{1,9})-([0-9]{1,15})-([0-9a-f]{8})")


def attempt_number(candidate: int, attempt: int) -> int:
    """The number of an attempt among all of its request: a later candidate's come after all of an earlier one."""
    return candidate * _CANDIDATE_ATTEMPTS + min(attempt, _CANDIDATE_ATTEMPTS - 1)


class Place(NamedTuple):
    """After so many characters of an attempt. Places of one request are in order."""

    attempt: int
    characters: int


START: Final = Place(0, 0)


class TokenPiece(Contract):
    """A piece of an attempt's text, which begins after `start` characters; `ended`: that attempt writes no more."""

    attempt: Count
    start: Count = 0
    text: str = ""
    ended: bool = False

    @property
    def end(self) -> Place:
        """Where the next piece begins."""
        return Place(self.attempt, ENDED if self.ended else self.start + len(self.text))


class Mark(Contract):
    """What a reader holds. It is the `id` of an event, and comes back as `Last-Event-ID`."""

    attempt: Count = 0
    characters: Count = 0
    check: int = Field(default=0, ge=0, lt=2**32)
    """CRC-32 of those characters."""

    def __str__(self) -> str:
        """`{attempt}-{characters}-{check}`."""
        return f"{self.attempt}-{self.characters}-{self.check:08x}"

    @classmethod
    def parse(cls, text: str) -> Mark | None:
        """The mark, or None when the text is none."""
        match = _MARK.fullmatch(text)
        return cls(attempt=int(match[1]), characters=int(match[2]), check=int(match[3], 16)) if match else None

    @property
    def place(self) -> Place:
        """Where it goes on."""
        return Place(self.attempt, self.characters)

    def after(self, text: str) -> Mark:
        """The mark once that text was read too."""
        check = zlib.crc32(text.encode(errors="surrogatepass"), self.check)
        return Mark(attempt=self.attempt, characters=self.characters + len(text), check=check)

    def begins(self, text: str) -> bool:
        """Whether the text begins with what the reader holds."""
        return len(text) >= self.characters and Mark().after(text[: self.characters]).check == self.check


class StreamText(Contract):
    """The next characters. `mark` is what a reader holds once it has them."""

    mark: Mark
    text: str


class StreamRestart(Contract):
    """What the reader holds is void: the answer is written anew."""

    mark: Mark


class Reading:
    """One reader's way through an answer."""

    def __init__(self, mark: Mark | None = None) -> None:
        """`mark` is what it holds already."""
        self.mark = mark or Mark()

    def piece(self, piece: TokenPiece) -> Iterator[StreamText | StreamRestart]:
        """What to give of a piece. Nothing of one that does not connect: what is between is lost, and comes with the rest."""
        if piece.attempt < self.mark.attempt or piece.ended or not piece.text:
            return
        if piece.attempt > self.mark.attempt:
            if piece.start > 0:
                return
            yield from self._anew(piece.attempt)
        known = self.mark.characters - piece.start
        if 0 <= known < len(piece.text):
            yield self._given(piece.text[known:])

    def rest(self, text: str) -> Iterator[StreamText | StreamRestart]:
        """What to give of the finished text: what comes after what the reader holds, or all of it anew."""
        if not self.mark.begins(text):
            yield from self._anew(self.mark.attempt + 1)
        for start in range(self.mark.characters, len(text), REST_CHARACTERS):
            yield self._given(text[start : start + REST_CHARACTERS])

    def _anew(self, attempt: int) -> Iterator[StreamRestart]:
        held = self.mark.characters
        self.mark = Mark(attempt=attempt)
        if held:
            yield StreamRestart(mark=self.mark)

    def _given(self, text: str) -> StreamText:
        self.mark = self.mark.after(text)
        return StreamText(mark=self.mark, text=text)
