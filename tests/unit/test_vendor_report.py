"""Vendor reports as files, amounts and times as they are typed: read exactly, or refused with the place that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.errors import InvalidRequest, TooLarge
from domain.reconciling import VendorUsage
from workers.cli.budget import amount, written
from workers.cli.times import as_instant
from workers.cli.vendor_report import read_report

CSV = "idempotency_key,model,input_tokens,output_tokens,micros\n"


def report(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "report"
    file.write_bytes(text.encode() if isinstance(text, str) else text)
    return file


@pytest.mark.parametrize(
    "text",
    [
        f"{CSV}k/1,m,7,3,25\nk/2,m,0,0,\n",
        f"\ufeff{CSV}k/1,m,7,3,25\r\nk/2,m,0,0,\r\n",
        '{"idempotency_key": "k/1", "input_tokens": 7, "output_tokens": 3, "micros": 25, "more": "x"}\n\n'
        '{"idempotency_key": "k/2", "input_tokens": 0, "output_tokens": 0, "micros": null}',
    ],
)
def test_both_forms_read_the_same(tmp_path: Path, text: str) -> None:
    assert read_report(report(tmp_path, text)) == [
        VendorUsage(idempotency_key="k/1", input_tokens=7, output_tokens=3, micros=25),
        VendorUsage(idempotency_key="k/2", input_tokens=0, output_tokens=0),
    ]


def test_a_key_of_digits_stays_a_text(tmp_path: Path) -> None:
    assert read_report(report(tmp_path, f"{CSV}0071,m,7,3,\n"))[0].idempotency_key == "0071"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "header lacks idempotency_key, input_tokens, output_tokens"),
        ("idempotency_key,input_tokens\nk,1\n", "header lacks output_tokens"),
        (f"{CSV}k,m,7,3,1\nk,m,-7,3,1\n", "Line 3 of the report: input_tokens"),
        (f"{CSV}k,m,7.5,3,1\n", "Line 2 of the report: input_tokens"),
        (f"{CSV}k,m,,3,1\n", "Line 2 of the report: input_tokens"),
        (f"{CSV}k,m,NaN,3,1\n", "Line 2 of the report: input_tokens"),
        (f"{CSV}k,m,1,2,99999999999999999999\n", "Line 2 of the report: micros"),
        (f"{CSV}k,m,1\n", "Line 2 of the report has not as many cells"),
        (f"{CSV}k,m,1,2,3,4\n", "Line 2 of the report has not as many cells"),
        (f"{CSV},m,1,2,3\n", "Line 2 of the report: idempotency_key"),
        ('{"idempotency_key": "k", "input_tokens": 1, "output_tokens": 1}\n{"idem', "Line 2 of the report is no JSON object"),
        ('{"idempotency_key": "k", "input_tokens": NaN, "output_tokens": 1}', "Line 1 of the report: input_tokens"),
        ('{"idempotency_key": "k", "input_tokens": true, "output_tokens": 1}', "Line 1 of the report: input_tokens"),
        ('{"idempotency_key": "k", "input_tokens": 1.0, "output_tokens": 1}', "Line 1 of the report: input_tokens"),
        (b"\xff\xfe", "is not UTF-8"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str | bytes, said: str) -> None:
    with pytest.raises(InvalidRequest, match=said):
        read_report(report(tmp_path, text))


def test_what_a_request_cannot_hold_must_be_split(tmp_path: Path) -> None:
    with pytest.raises(TooLarge):
        read_report(report(tmp_path, CSV + "k,m,1,1,1\n" * 50_001))
    with pytest.raises(TooLarge):
        read_report(report(tmp_path, b" " * (7 * 1024 * 1024 + 1)))


@pytest.mark.parametrize(
    ("text", "unit", "value"),
    [("12", "tokens", 12), ("12", "USD", 12_000_000), ("12.5", "USD", 12_500_000), ("0.000001", "EUR", 1), ("0", "USD", 0)],
)
def test_amounts_are_exact(text: str, unit: str, value: int) -> None:
    assert amount(text, unit) == value


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        *(("1.5", "tokens"), ("", "tokens"), ("\uff11\uff12", "tokens")),
        *(("-1", "USD"), ("nan", "USD"), ("1e6", "USD"), ("1.0000001", "USD")),
    ],
)
def test_no_amount_is_guessed(text: str, unit: str) -> None:
    with pytest.raises(InvalidRequest):
        amount(text, unit)


@given(st.integers(0, 2**53 - 1), st.sampled_from(["tokens", "USD"]))
def test_amounts_are_written_as_they_are_read(value: int, unit: str) -> None:
    assert amount(written(value, unit), unit) == value


def test_times_without_a_zone_are_of_utc() -> None:
    assert as_instant("2026-01-31") == "2026-01-31T00:00:00+00:00"
    assert as_instant("2026-01-31T12:00:00+02:00") == "2026-01-31T12:00:00+02:00"
    assert as_instant(None) is None
    with pytest.raises(InvalidRequest):
        as_instant("yesterday")
