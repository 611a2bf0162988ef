"""Revocations: which tokens are refused although they have not expired.

A token says when it was issued. A revocation names tokens and a moment, and what was issued until then is refused from now on,
also where a run goes on in its name. What is issued later is not meant. What was delegated from a refused token is refused with
it.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    """Every token and API key of a client, and what was delegated from them."""
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


Named = tuple[RevocationKind, str | None]
"""What a revocation names: `value` is None of `all` alone."""


def named(actor: Actor) -> dict[Named, UtcTime | None]:
    """What a revocation could name to refuse the actor's token, each with the time of issue that it is compared with.

    A delegated token is refused with any that it was delegated from, so each of these stands here with its own time: the
    oldest where several have the same name.
    """
    holders = [(actor.jti, actor.client_id, subject, actor.issued_at) for subject in (actor.subject, *actor.act)]
    holders += [(each.jti, each.client_id, each.subject, each.issued_at) for each in actor.ancestors]
    found: dict[Named, UtcTime | None] = {}
    for jti, client_id, subject, issued_at in holders:
        for name in (
            (RevocationKind.JTI, jti),
            (RevocationKind.CLIENT, client_id),
            (RevocationKind.SUBJECT, subject),
            (RevocationKind.ALL, None),
        ):
            found[name] = _older(found[name], issued_at) if name in found else issued_at
    return found


def refused(actor: Actor, revoked: Mapping[Named, UtcTime]) -> bool:
    """Whether one of the revocations, by what they name and their moment, means the actor's token.

    Tokens say when they were issued in whole seconds, so what was issued in the second of the revocation is meant, too; so is
    what does not say it. One that names a token by its jti means it at any time.
    """
    for name, issued_at in named(actor).items():
        before = revoked.get(name)
        if before is None:
            continue
        if name[0] is RevocationKind.JTI or issued_at is None or issued_at.replace(microsecond=0) <= before:
            return True
    return False


def _older(one: UtcTime | None, other: UtcTime | None) -> UtcTime | None:
    return None if one is None or other is None else min(one, other)
