"""What commands print of texts that came from users and models: all of it, and nothing that acts on a terminal."""

from __future__ import annotations

import pytest

from workers.cli.display import moment, show_facts, show_table, show_turn, visible

HOSTILE = "a\x1b[2Jb\x07\r[red]c[/red] :warning: d\x9b1mé"
SHOWN = "a\ufffd[2Jb\ufffd\ufffd[red]c[/red] :warning: d\ufffd1mé"


def test_control_characters_are_shown_and_never_sent() -> None:
    assert visible(HOSTILE) == SHOWN
    assert visible("two\nlines\tand a tab") == "two\nlines\tand a tab"
    assert visible(None) == ""


def test_a_name_is_printed_as_it_is_and_not_read_as_markup(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(("id", "name"), [("doc_1", HOSTILE)], more="doc_1")
    show_facts([("name", HOSTILE), ("nothing", None)])
    printed = capsys.readouterr().out
    assert printed.count(SHOWN) == 2
    assert "--after doc_1" in printed
    assert "nothing" not in printed
    assert "\x1b" not in printed


def test_a_turn_tells_its_answer_its_model_and_what_was_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    turn = {
        "turn_id": "trn_1",
        "content": "When?",
        "reply": HOSTILE,
        "status": "completed",
        "model": "soma-extractive",
        "usage": {"input_tokens": 5, "output_tokens": 3},
        "citations": [{"source": "doc_1", "start": 0, "end": 9}],
        "error": None,
        "decision": {"reasons": [{"code": "forgery", "message": "Look."}]},
        "warnings": ["memory-not-recalled"],
    }
    show_turn(turn)
    failed = turn | {"reply": None, "status": "failed", "model": None, "citations": [], "decision": None, "warnings": []}
    show_turn(failed | {"error": {"type": "model-unavailable", "detail": "Try again."}})
    assert capsys.readouterr().out.splitlines() == [
        "> When?",
        SHOWN,
        "trn_1 completed | soma-extractive, 5 tokens in, 3 out | cites doc_1 0-9 | forgery: Look. | memory-not-recalled",
        "> When?",
        "trn_1 failed | model-unavailable: Try again.",
    ]


def test_times_are_shown_without_fraction_and_zone() -> None:
    assert moment("2026-11-23T02:03:30.482Z") == "2026-11-23 02:03:30"
    assert moment("2026-11-23T02:03:30Z") == "2026-11-23 02:03:30"
    assert moment(None) == ""
