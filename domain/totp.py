"""Time-based one-time passwords (RFC 6238 over RFC 4226): six digits, HMAC-SHA-1, steps of 30 seconds, as apps read them."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import Final
from urllib.parse import quote, urlencode

STEP_SECONDS: Final = 30
DIGITS: Final = 6
SEED_BYTES: Final = 20
WINDOW: Final = 1
"""Steps before and after the current one that are taken too: clocks differ, and typing takes time (RFC 6238, 5.2)."""


def code_at(seed: bytes, step: int) -> str:
    """The code of one step."""
    # SHA-1 is what RFC 6238 names first and what authenticator apps know; HMAC does not rest on its collisions.
    digest = hmac.new(seed, step.to_bytes(8), hashlib.sha1).digest()
    start = digest[-1] & 0x0F
    number = int.from_bytes(digest[start : start + 4]) & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def matching_step(seed: bytes, code: str, now: float, used: int | None = None) -> int | None:
    """The step of which `code` is the code at that time (seconds since the epoch); None when it is of none in the window, or
    of one that is not after the last one used: each code is good once."""
    current = int(now) // STEP_SECONDS
    found: int | None = None
    # All of them are compared, so that the time taken tells nothing.
    for step in range(max(0, current - WINDOW), current + WINDOW + 1):
        if hmac.compare_digest(code_at(seed, step).encode(), code.encode()) and (used is None or step > used):
            found = step
    return found


def written_seed(seed: bytes) -> str:
    """The seed as people type it into an app: base32 without padding."""
    return base64.b32encode(seed).decode().rstrip("=")


def address_of(seed: bytes, issuer: str, account: str) -> str:
    """The `otpauth:` address an app opens."""
    label = quote(f"{issuer}:{account}", safe="")
    return f"otpauth://totp/{label}?" + urlencode({"secret": written_seed(seed), "issuer": issuer})
