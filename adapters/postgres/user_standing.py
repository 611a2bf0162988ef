"""Whether people still stand: who a token speaks of must be an active user, with roles that open what the token does.

It stands around the `Standing` of clients, which has the last word on clients and on what was revoked.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.connection import Pool, tenant_select
from domain.actors import Actor
from domain.base import UtcTime
from domain.capabilities import within
from domain.ports.identity import Standing
from domain.ports.users import RoleScopes
from domain.revocations import RevocationKind, named
from domain.sign_in import PUBLIC_CLIENTS
from domain.users import is_user

_MAX_REMEMBERED: Final = 10_000
_STANDING: Final = """
SELECT user_id, roles, valid_from FROM users
WHERE tenant_id = tenant.tenant_id AND user_id = ANY ($2::text[])
  AND deleted_at IS NULL AND locked_at IS NULL AND login_id IS NOT NULL
"""


class _Known(NamedTuple):
    """What the rows say of people who stand: since when their tokens hold, and what the first one's roles open."""

    until: float
    valid_from: dict[str, datetime | None]
    scopes: frozenset[str]


class UserStanding:
    """Implements `Standing`. An answer is remembered for a second at most, so a deleted or locked user is out within that."""

    def __init__(
        self,
        clients: Standing,
        pool: Pool,
        roles: RoleScopes,
        memory_seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`pool` belongs to the application's role; `memory_seconds` 0 asks every time."""
        self._clients = clients
        self._pool = pool
        self._roles = roles
        self._memory = memory_seconds
        self._clock = clock
        self._known: dict[tuple[str, tuple[str, ...]], _Known] = {}

    async def stands(self, actor: Actor) -> bool:
        """False also once a person the token speaks of was deleted, locked or activated anew, or has not the roles any more.
        Raises DependencyUnavailable."""
        people = tuple(dict.fromkeys(subject for subject in (actor.subject, *actor.act) if is_user(subject)))
        if actor.client_id in PUBLIC_CLIENTS and not is_user(actor.subject):
            return False
        if people and not await self._people_stand(actor, people):
            return False
        return await self._clients.stands(actor)

    async def _people_stand(self, actor: Actor, people: tuple[str, ...]) -> bool:
        key = (actor.tenant_id, people)
        known = self._known.get(key)
        if known is None or known.until <= self._clock():
            # The time before asking: what is true now may have changed when the answer arrives.
            known = await self._asked(actor.tenant_id, people, self._clock() + self._memory)
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = known
        issued = named(actor)
        for person in people:
            if person not in known.valid_from or _void(known.valid_from[person], issued[RevocationKind.SUBJECT, person]):
                return False
        # Whether the scopes of somebody who acts for another are theirs was decided when the token was made.
        return not is_user(actor.subject) or all(within(scope, known.scopes) for scope in actor.scopes)

    async def _asked(self, tenant_id: str, people: tuple[str, ...], until: float) -> _Known:
        found = {row["user_id"]: row for row in await tenant_select(self._pool, tenant_id, _STANDING, list(people))}
        first = found.get(people[0])
        opened = await self._roles.opened(tenant_id, tuple(first["roles"])) if first is not None else {}
        return _Known(until, {user_id: row["valid_from"] for user_id, row in found.items()}, frozenset().union(*opened.values()))


def _void(valid_from: datetime | None, issued_at: UtcTime | None) -> bool:
    """Whether a token of that time, in whole seconds, was issued before the person's login of today."""
    return valid_from is not None and (issued_at is None or issued_at.replace(microsecond=0) <= valid_from)
