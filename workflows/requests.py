"""The requests an entity has answered: Temporal deduplicates update ids within one run only, so the entity carries them."""

from __future__ import annotations

from collections import OrderedDict

from workflows.options import KEPT_REQUESTS

Carried = tuple[tuple[str, str, str], ...]
"""Request key, what it was answered with, digest of what was asked."""


class AnsweredRequests:
    """The last requests by key. What is older than the last 1,000 is forgotten."""

    def __init__(self, carried: Carried = ()) -> None:
        """Restores what `carry` gave."""
        self._answers = OrderedDict((key, (answer, digest)) for key, answer, digest in carried)

    def find(self, key: str) -> tuple[str, str] | None:
        """The answer to this key and the digest it was asked with."""
        return self._answers.get(key)

    def add(self, key: str, answer: str, digest: str) -> None:
        """Keeps an answer."""
        self._answers[key] = (answer, digest)
        while len(self._answers) > KEPT_REQUESTS:
            self._answers.popitem(last=False)

    def carry(self) -> Carried:
        """What the next run restores."""
        return tuple((key, answer, digest) for key, (answer, digest) in self._answers.items())
