"""One-time passwords against the vectors of RFC 6238, and each good once."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.totp import STEP_SECONDS, address_of, code_at, matching_step, written_seed

SEED = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (2000000000, "279037")],
)
def test_the_vectors_of_the_rfc(seconds: int, code: str) -> None:
    """Appendix B; it prints eight digits, of which six are the last."""
    assert code_at(SEED, seconds // STEP_SECONDS) == code
    assert matching_step(SEED, code, seconds) == seconds // STEP_SECONDS


@given(st.binary(min_size=20, max_size=20), st.integers(0, 2**32), st.integers(-3, 3))
def test_a_code_is_taken_one_step_early_or_late(seed: bytes, now: int, off: int) -> None:
    step = now // STEP_SECONDS + off
    if step < 0:
        return
    near = {code_at(seed, other) for other in range(max(0, step - off - 1), step - off + 2)}
    assert (matching_step(seed, code_at(seed, step), now) is not None) == (code_at(seed, step) in near)


@given(st.binary(min_size=20, max_size=20), st.integers(60, 2**32))
def test_a_code_is_good_once(seed: bytes, now: int) -> None:
    code = code_at(seed, now // STEP_SECONDS)
    used = matching_step(seed, code, now)
    again = matching_step(seed, code, now + 1, used)
    assert used is not None
    assert again is None or (again > used and code_at(seed, again) == code)


@pytest.mark.parametrize("bad", ["", "28708", "2870822", "28708é", " 287082", "abcdef", "٢٨٧٠٨٢"])
def test_what_is_no_code_matches_none(bad: str) -> None:
    assert matching_step(SEED, bad, 59) is None


def test_an_app_can_read_it() -> None:
    address = urlsplit(address_of(SEED, "SomaGent demo", "ada+x@example"))
    assert (address.scheme, address.netloc) == ("otpauth", "totp")
    assert parse_qs(address.query) == {"secret": [written_seed(SEED)], "issuer": ["SomaGent demo"]}
    assert written_seed(SEED) == "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
