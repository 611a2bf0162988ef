"""Rate limits at the edge."""

from __future__ import annotations

from typing import Protocol

from domain.base import Contract, Count


class Quota(Contract):
    """What is left of a limit. `reset_seconds` is how long until some of it comes back."""

    allowed: bool
    limit: Count
    remaining: Count
    reset_seconds: Count


class RateLimiter(Protocol):
    """Counts requests in a sliding minute. It never fails: without its shared store it counts in this process."""

    async def take(self, bucket: str, key: str, per_minute: int) -> Quota:
        """Counts one request; `allowed` is False when the minute's are used up, and it is then not counted."""
        ...

    async def peek(self, bucket: str, key: str, per_minute: int) -> Quota:
        """The same without counting."""
        ...
