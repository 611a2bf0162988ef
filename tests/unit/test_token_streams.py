"""A reader's way through an answer: whatever is lost, cut or written anew, it ends up with the answer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.token_streams import (
    ENDED,
    REST_CHARACTERS,
    Mark,
    Place,
    Reading,
    StreamRestart,
    StreamText,
    TokenPiece,
    attempt_number,
)

ATTEMPTS = st.lists(st.lists(st.text(max_size=6), max_size=8), min_size=1, max_size=4)


class Client:
    """What somebody who follows the events holds; it comes back with the id of the last event it saw."""

    def __init__(self) -> None:
        self.held, self.mark = "", ""

    def take(self, item: StreamText | StreamRestart) -> None:
        self.mark = str(item.mark)
        self.held = self.held + item.text if isinstance(item, StreamText) else ""

    def reading(self) -> Reading:
        return Reading(Mark.parse(self.mark) if self.mark else None)


def pieces(attempts: list[list[str]]) -> list[TokenPiece]:
    """What attempts write, one after the other; each but the last breaks off."""
    found: list[TokenPiece] = []
    for number, texts in enumerate(attempts, 1):
        start = 0
        for text in texts:
            found.append(TokenPiece(attempt=number, start=start, text=text))
            start += len(text)
        found.append(TokenPiece(attempt=number, ended=True))
    return found


@given(ATTEMPTS, st.data())
def test_the_reader_ends_up_with_the_answer(attempts: list[list[str]], data: st.DataObject) -> None:
    """Pieces are lost, seen twice after coming back, and the connection is cut between any two events."""
    client = Client()
    reading = client.reading()
    for piece in pieces(attempts):
        for _ in range(data.draw(st.integers(0, 2))):
            for item in reading.piece(piece):
                client.take(item)
        if data.draw(st.booleans()):
            reading = client.reading()
    answer = "".join(attempts[-1])
    for item in list(client.reading().rest(answer)):
        client.take(item)
    assert client.held == answer
    # Coming back after the end gives nothing more.
    assert list(client.reading().rest(answer)) == []


@given(ATTEMPTS)
def test_nothing_is_given_twice_when_nothing_is_lost(attempts: list[list[str]]) -> None:
    reading, answer = Reading(), "".join(attempts[-1])
    given_ = [item for piece in pieces(attempts) for item in reading.piece(piece)]
    if answer:
        assert list(reading.rest(answer)) == []
    restarts = sum(isinstance(item, StreamRestart) for item in given_)
    assert restarts <= len(attempts) - 1
    assert sum(len(item.text) for item in given_ if isinstance(item, StreamText)) == sum(map(len, map("".join, attempts)))


def test_a_retried_attempt_begins_anew() -> None:
    reading = Reading()
    given_ = [item for piece in pieces([["One ", "two"], ["Un ", "deux"]]) for item in reading.piece(piece)]
    assert [item.text if isinstance(item, StreamText) else "restart" for item in given_] == [
        "One ",
        "two",
        "restart",
        "Un ",
        "deux",
    ]
    assert [str(item.mark).rpartition("-")[0] for item in given_] == ["1-4", "1-7", "2-0", "2-3", "2-7"]


def test_after_a_loss_nothing_is_given_until_the_end() -> None:
    reading = Reading()
    first, _, third = pieces([["One ", "two ", "three"]])[:3]
    assert [item for piece in (first, third) for item in reading.piece(piece)] == [
        StreamText(mark=Mark(attempt=1).after("One "), text="One ")
    ]
    assert [item.text for item in reading.rest("One two three") if isinstance(item, StreamText)] == ["two three"]


def test_a_reader_may_stand_in_the_middle_of_a_piece() -> None:
    piece = TokenPiece(attempt=1, start=4, text="two three")
    items = list(Reading(Mark(attempt=1).after("One two ")).piece(piece))
    assert items == [StreamText(mark=Mark(attempt=1).after("One two three"), text="three")]


def test_what_an_attempt_adds_that_was_overtaken_or_whose_beginning_is_lost_is_not_given() -> None:
    reading = Reading(Mark(attempt=2).after("Un "))
    assert list(reading.piece(TokenPiece(attempt=1, start=3, text="e two"))) == []
    assert list(reading.piece(TokenPiece(attempt=3, start=5, text="drei"))) == []
    assert reading.mark == Mark(attempt=2).after("Un ")


def test_a_text_that_was_changed_since_is_given_anew() -> None:
    """The gate took something out of it, or another model wrote it."""
    reading = Reading(Mark(attempt=1).after("The key is "))
    restart, text = reading.rest("The secret is [redacted:secret].")
    assert isinstance(restart, StreamRestart)
    assert isinstance(text, StreamText)
    assert text.text == "The secret is [redacted:secret]."
    assert isinstance(next(Reading(Mark(attempt=1).after("Longer than that.")).rest("Short.")), StreamRestart)


def test_a_long_rest_comes_in_pieces_to_come_back_to() -> None:
    text = "word " * 2_000
    items = list(Reading().rest(text))
    assert [len(item.text) for item in items if isinstance(item, StreamText)] == [REST_CHARACTERS] * 5
    assert [item.text for item in Reading(items[2].mark).rest(text) if isinstance(item, StreamText)] == [
        item.text for item in items[3:] if isinstance(item, StreamText)
    ]


@given(st.integers(0, 10**9 - 1), st.text())
def test_a_mark_survives_the_wire(attempt: int, text: str) -> None:
    mark = Mark(attempt=attempt).after(text)
    assert Mark.parse(str(mark)) == mark
    assert mark.place == Place(attempt, len(text))


@pytest.mark.parametrize(
    "text",
    [*("", "1", "1-2", "1-2-3", "-1-2-00000000", "1-2-0000000g", "1-2-00000000 "), "1-" + "9" * 16 + "-00000000"],
)
def test_what_is_no_mark(text: str) -> None:
    assert Mark.parse(text) is None


def test_attempts_of_a_later_candidate_come_after() -> None:
    numbers = [attempt_number(candidate, attempt) for candidate in range(3) for attempt in (1, 2, 5000)]
    assert numbers == sorted(set(numbers))
    assert TokenPiece(attempt=1, ended=True).end == Place(1, ENDED)
    assert TokenPiece(attempt=1, start=2, text="abc").end < TokenPiece(attempt=1, ended=True).end < Place(2, 0)
