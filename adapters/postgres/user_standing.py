"""Whether people still stand: who a token speaks of must be an active user, with roles that open what the token does.

It stands around the `Standing` of clients, which has the last word on theirs. Public clients have no row there, so what was
revoked of their tokens is looked up here.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime
from typing import Final, NamedTuple

from adapters.postgres.connection import Pool, tenant_select
from domain.actors import Actor
from domain.capabilities import within
from domain.ports.identity import Standing
from domain.ports.users import RoleScopes
from domain.revocations import refuses
from domain.sign_in import PUBLIC_CLIENTS
from domain.users import is_user

_MAX_REMEMBERED: Final = 10_000
_STANDING: Final = """
SELECT user_id, roles, valid_from,
    (SELECT max(before) FROM revocations r WHERE r.tenant_id = u.tenant_id AND (r.kind = 'all'
        OR (r.kind = 'client' AND r.value = $3) OR (r.kind = 'subject' AND r.value = ANY ($2::text[])))) AS revoked_before,
    EXISTS (SELECT FROM revocations r WHERE r.tenant_id = u.tenant_id AND r.kind = 'jti' AND r.value = $4) AS revoked
FROM users u WHERE tenant_id = tenant.tenant_id AND user_id = ANY ($2::text[])
  AND deleted_at IS NULL AND locked_at IS NULL AND login_id IS NOT NULL
"""


class _Known(NamedTuple):
    """What the rows say of a token. No scopes at all: somebody it speaks of has ended, or it was revoked."""

    until: float
    scopes: frozenset[str]
    void_before: datetime | None = None


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
        self._known: dict[tuple[object, ...], _Known] = {}

    async def stands(self, actor: Actor) -> bool:
        """False also once a person the token speaks of was deleted, locked or activated anew, or has not the roles any more.
        Raises DependencyUnavailable."""
        public = actor.client_id in PUBLIC_CLIENTS
        people = [subject for subject in (actor.subject, *actor.act) if is_user(subject)]
        if public and not is_user(actor.subject):
            return False
        if people and not await self._people_stand(actor, people):
            return False
        return public or await self._clients.stands(actor)

    async def _people_stand(self, actor: Actor, people: list[str]) -> bool:
        key = (actor.tenant_id, actor.client_id, actor.subject, actor.act, actor.jti)
        known = self._known.get(key)
        if known is None or known.until <= self._clock():
            # The time before asking: what is true now may have changed when the answer arrives.
            known = await self._asked(actor, people, self._clock() + self._memory)
            if len(self._known) >= _MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = known
        if not known.scopes or refuses(known.void_before, actor):
            return False
        # Whether the scopes of somebody who acts for another are theirs was decided when the token was made.
        return not is_user(actor.subject) or all(within(scope, known.scopes) for scope in actor.scopes)

    async def _asked(self, actor: Actor, people: list[str], until: float) -> _Known:
        named = [actor.subject, *actor.act]
        rows = await tenant_select(self._pool, actor.tenant_id, _STANDING, named, actor.client_id, actor.jti)
        found = {row["user_id"]: row for row in rows}
        if not set(people) <= found.keys() or rows[0]["revoked"]:
            return _Known(until, frozenset())
        first = found[people[0]]
        opened = await self._roles.scopes_of(actor.tenant_id, tuple(first["roles"]))
        times = [first["valid_from"] if people[0] == actor.subject else None, rows[0]["revoked_before"]]
        void_before = max((time for time in times if time is not None), default=None)
        return _Known(until, frozenset().union(*opened.values()), void_before)
