"""Passwords as Argon2id (RFC 9106) hashes, with that RFC's parameters for memory-constrained servers (64 MiB, three passes)."""

from __future__ import annotations

import asyncio
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

_AT_ONCE: Final = 2
"""Each takes 64 MiB and a core; the others wait."""


class Argon2Passwords:
    """Implements `Passwords`. Hashing happens in threads, so that the event loop goes on."""

    def __init__(self) -> None:
        """Hashes once, to have what nobody's password is compared with."""
        self._hasher = PasswordHasher()
        self._nobody = self._hasher.hash("")
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def hash(self, password: str) -> str:
        """The hash in the format of the reference implementation (`$argon2id$…`)."""
        async with self._places:
            return await asyncio.to_thread(self._hasher.hash, password)

    async def matches(self, hashed: str | None, password: str) -> bool:
        """Whether the password has that hash; against None it takes as long and is never true."""
        async with self._places:
            same = await asyncio.to_thread(self._verified, hashed or self._nobody, password)
        return same and hashed is not None

    def _verified(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password)
        except (VerificationError, InvalidHashError):
            return False
