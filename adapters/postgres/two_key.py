"""Two-key approvals in Postgres. Constraints are the last word: one row a person, and two places.

`consume` is for the transaction of the act itself: either both happen, or neither.
"""

from __future__ import annotations

from typing import Final

from adapters.postgres.changes import tell_change, was_made
from adapters.postgres.connection import Connection, Pool, Row, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.errors import Conflict, Forbidden, NotFound
from domain.event_data.base import EventData
from domain.event_data.people import TwoKeyApproved, TwoKeyConsumed, TwoKeyProposed, TwoKeyWithdrawn
from domain.ids import Prefix, parse_id
from domain.names import TwoKeyAction
from domain.two_key import (
    KEYS,
    TwoKeyApproval,
    TwoKeyApprovalInput,
    TwoKeyInput,
    TwoKeyState,
    TwoKeyView,
    TwoKeyWithdrawalInput,
    check_approver,
)

_PROPOSE: Final = """
INSERT INTO two_key_requests (tenant_id, approval_id, action, resource, digest, proposed_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, clock_timestamp() + make_interval(secs => $7))
ON CONFLICT (tenant_id, approval_id) DO NOTHING RETURNING approval_id
"""
_LOCK: Final = "SELECT FROM two_key_requests WHERE tenant_id = $1 AND approval_id = $2 FOR UPDATE"
_READ: Final = """
SELECT action, resource, digest, withdrawn_by, consumed_at, expires_at <= clock_timestamp() AS expired,
       (SELECT count(*)::int FROM two_key_approvals a WHERE a.tenant_id = r.tenant_id AND a.approval_id = r.approval_id) AS turned
FROM two_key_requests r WHERE tenant_id = $1 AND approval_id = $2
"""
# Only a user who stands; whoever has turned a key already turns no second one.
_APPROVE: Final = """
INSERT INTO two_key_approvals (tenant_id, approval_id, place, user_id)
SELECT tenant_id, $2, $4, user_id FROM users
WHERE tenant_id = $1 AND user_id = $3 AND deleted_at IS NULL AND locked_at IS NULL AND login_id IS NOT NULL
ON CONFLICT DO NOTHING RETURNING user_id
"""
_WITHDRAW: Final = """
UPDATE two_key_requests SET withdrawn_by = $3 WHERE tenant_id = $1 AND approval_id = $2 AND withdrawn_by IS NULL
"""
# Row locks make two consumers one after the other: the second finds it consumed. Both people must still stand.
_CONSUME: Final = """
UPDATE two_key_requests SET consumed_at = clock_timestamp() WHERE tenant_id = $1 AND approval_id = (
    SELECT approval_id FROM two_key_requests r
    WHERE tenant_id = $1 AND action = $2 AND resource = $3 AND digest = $4 AND consumed_at IS NULL AND withdrawn_by IS NULL
      AND expires_at > clock_timestamp()
      AND (SELECT count(DISTINCT a.user_id) FROM two_key_approvals a JOIN users u USING (tenant_id, user_id)
           WHERE a.tenant_id = $1 AND a.approval_id = r.approval_id AND u.deleted_at IS NULL AND u.locked_at IS NULL) = $5
    ORDER BY approval_id LIMIT 1 FOR UPDATE)
  AND consumed_at IS NULL AND withdrawn_by IS NULL
RETURNING approval_id
"""
_APPROVERS: Final = "SELECT user_id FROM two_key_approvals WHERE tenant_id = $1 AND approval_id = $2 ORDER BY place"
_SELECT: Final = """
SELECT * FROM (SELECT r.*,
    (SELECT coalesce(jsonb_agg(jsonb_build_object('user_id', user_id, 'approved_at', approved_at) ORDER BY place), '[]')
     FROM two_key_approvals a WHERE a.tenant_id = r.tenant_id AND a.approval_id = r.approval_id) AS approvals,
    CASE WHEN consumed_at IS NOT NULL THEN 'consumed' WHEN withdrawn_by IS NOT NULL THEN 'withdrawn'
         WHEN expires_at <= clock_timestamp() THEN 'expired'
         WHEN (SELECT count(*) FROM two_key_approvals a WHERE a.tenant_id = r.tenant_id AND a.approval_id = r.approval_id) = 2
         THEN 'approved' ELSE 'open' END AS state
FROM two_key_requests r WHERE tenant_id = tenant.tenant_id) AS q
"""
_GET: Final = f"{_SELECT} WHERE approval_id = $2"
_PAGE: Final = f"""{_SELECT} WHERE ($2::text IS NULL OR state = $2) AND ($3::text IS NULL OR action = $3)
  AND ($4::text IS NULL OR approval_id < $4) ORDER BY approval_id DESC LIMIT $5
"""


async def consume(connection: Connection, tenant_id: str, action: TwoKeyAction, resource: str, digest: str) -> tuple[str, str]:
    """Uses up the approval of exactly this, within the caller's transaction; the ids of the two who approved.

    `digest` is the SHA-256 of what is about to happen, in hex. Raises Forbidden when no two people who still stand have approved
    it, or it has expired, was withdrawn or was used. It is used only if the transaction commits.
    """
    used: str | None = await connection.fetchval(_CONSUME, tenant_id, action.value, resource, digest, KEYS)
    if used is None:
        raise Forbidden("Two people must approve exactly this first, with POST /v1/approvals; an approval is good once.")
    rows = await connection.fetch(_APPROVERS, tenant_id, used)
    first, second = (str(row["user_id"]) for row in rows)
    told = TwoKeyConsumed(approval_id=used, action=action, resource=resource, digest=digest, approvers=(first, second))
    await _tell(connection, tenant_id, told)
    return first, second


class PostgresTwoKey:
    """TwoKeyStore and TwoKeyReads. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def propose(self, proposal: TwoKeyInput) -> None:
        """Adds the request and `two_key.proposed`; the first writer wins."""
        actor = proposal.actor
        values = (proposal.action.value, proposal.resource, proposal.digest, actor.subject, proposal.lifetime_seconds)
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            if await connection.fetchval(_PROPOSE, actor.tenant_id, proposal.approval_id, *values) is not None:
                told = TwoKeyProposed(
                    approval_id=proposal.approval_id,
                    action=proposal.action,
                    resource=proposal.resource,
                    digest=proposal.digest,
                    subject=actor.subject,
                )
                await _tell(connection, actor.tenant_id, told)

    async def approve(self, approval: TwoKeyApprovalInput) -> None:
        """Adds one person's approval and `two_key.approved`; an attempt that is repeated changes nothing. Raises Forbidden,
        NotFound, Conflict."""
        actor, approval_id = approval.actor, approval.approval_id
        check_approver(actor)
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            row = await _locked(connection, actor.tenant_id, approval_id)
            if await was_made(connection, actor.tenant_id, approval.change_id):
                return
            if row["digest"] != approval.digest:
                raise Conflict("What is to be approved has another digest; read the request, and approve what it says.")
            if row["withdrawn_by"] is not None or row["consumed_at"] is not None or row["expired"]:
                raise Conflict("The request was withdrawn, used or has expired; propose another.")
            place = row["turned"] + 1
            if place > KEYS:
                raise Conflict("Two people have approved this already.")
            made = await connection.fetchval(_APPROVE, actor.tenant_id, approval_id, actor.subject, place)
            if made is None:
                raise Conflict("You have approved this already; another person must be the second.")
            told = TwoKeyApproved(
                approval_id=approval_id,
                action=TwoKeyAction(row["action"]),
                resource=row["resource"],
                digest=row["digest"],
                user_id=actor.subject,
                complete=place == KEYS,
            )
            await tell_change(connection, actor.tenant_id, approval.change_id, told)

    async def withdraw(self, withdrawal: TwoKeyWithdrawalInput) -> None:
        """Ends the request and tells `two_key.withdrawn`. Raises NotFound, Conflict."""
        actor, approval_id = withdrawal.actor, withdrawal.approval_id
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            row = await _locked(connection, actor.tenant_id, approval_id)
            if row["consumed_at"] is not None:
                raise Conflict("The approval was used already; it cannot be withdrawn.")
            if row["withdrawn_by"] is None:
                await connection.execute(_WITHDRAW, actor.tenant_id, approval_id, actor.subject)
                told = TwoKeyWithdrawn(
                    approval_id=approval_id,
                    action=TwoKeyAction(row["action"]),
                    resource=row["resource"],
                    digest=row["digest"],
                    subject=actor.subject,
                )
                await _tell(connection, actor.tenant_id, told)

    async def get(self, tenant_id: str, approval_id: str) -> TwoKeyView:
        """One request. Raises NotFound."""
        parse_id(Prefix.TWO_KEY, approval_id)
        rows = await tenant_select(self._pool, tenant_id, _GET, approval_id)
        if not rows:
            raise _unknown()
        return _view(rows[0])

    async def page(
        self, tenant_id: str, *, state: TwoKeyState | None, action: TwoKeyAction | None, after: str | None, limit: int
    ) -> tuple[TwoKeyView, ...]:
        """Newest first, from after that id on."""
        asked = (state.value if state else None, action.value if action else None, after, limit)
        return tuple(_view(row) for row in await tenant_select(self._pool, tenant_id, _PAGE, *asked))


async def _locked(connection: Connection, tenant_id: str, approval_id: str) -> Row:
    """The request, which nobody else changes until the transaction ends. What it counts is read anew once it is locked."""
    await connection.execute(_LOCK, tenant_id, approval_id)
    row = await connection.fetchrow(_READ, tenant_id, approval_id)
    if row is None:
        raise _unknown()
    return row


async def _tell(connection: Connection, tenant_id: str, data: EventData) -> None:
    await insert_events(connection, tenant_id, (event_of(data),))


def _view(row: Row) -> TwoKeyView:
    values = {name: row[name] for name in TwoKeyView.model_fields}
    return TwoKeyView.model_validate(values | {"approvals": tuple(TwoKeyApproval(**each) for each in row["approvals"])})


def _unknown() -> NotFound:
    return NotFound("No approval request has that id.")
