"""Revocations: which tokens are refused although they have not expired.

A token says when it was issued. A revocation names tokens and a moment, and what was issued until then is refused from now on,
also where a run goes on in its name. What is issued later is not meant.
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, UtcTime
from domain.blobs import BlobRef
from domain.ids import RevocationId


class RevocationKind(StrEnum):
    """What a revocation names by its `value`."""

    JTI = "jti"
    """One token. An API key has its own way to end."""
    CLIENT = "client"
    """Every token and API key of a client."""
    SUBJECT = "subject"
    """Every token of a subject, and those that were exchanged for one of them: it stands in their chain of actors."""
    ALL = "all"
    """Every token and API key of the tenant: a new epoch begins. There is no value."""


class RevocationInput(Contract):
    """Argument of `revocation.create`. The remark is the caller's words, so it comes by reference."""

    revocation_id: RevocationId
    actor: Actor
    kind: RevocationKind
    value: str | None = Field(default=None, max_length=200)
    reason: BlobRef | None = None


class RevocationView(Contract):
    """A revocation as it reads. Tokens issued at `before` or earlier are refused."""

    revocation_id: RevocationId
    kind: RevocationKind
    value: str | None
    before: UtcTime
    reason: str | None
    revoked_by: str
    revoked_at: UtcTime


def refuses(revoked_before: UtcTime | None, actor: Actor) -> bool:
    """Whether a revocation of that moment means the actor's token. Of one that does not say when it was issued it does.

    Tokens say it in whole seconds, so what was issued in the second of the revocation is meant, too.
    """
    if revoked_before is None or actor.issued_at is None:
        return revoked_before is not None
    return actor.issued_at.replace(microsecond=0) <= revoked_before
