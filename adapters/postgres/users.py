"""Users in Postgres: rows written with their events, how they read, and what they log in with."""

from __future__ import annotations

from typing import Any, Final

from adapters.postgres.blobs import stored_bytes
from adapters.postgres.changes import check_version, tell_change, was_made
from adapters.postgres.connection import Connection, Pool, Row, tenant_insert, tenant_select, tenant_transaction
from adapters.postgres.outbox import event_of, insert_events
from domain.blobs import BlobRef
from domain.errors import Conflict, Forbidden, NotFound, PreconditionFailed
from domain.event_data.base import EventData
from domain.event_data.people import UserActivated, UserChanged, UserCreated, UserDeleted, UserInvited
from domain.ids import Prefix, parse_id
from domain.ports.users import InvitedUser
from domain.users import (
    UserActivationInput,
    UserChangeInput,
    UserDeletionInput,
    UserInput,
    UserInvitationInput,
    UserInvitationOutcome,
    UserProfile,
    UserStatus,
    UserView,
    name_key,
)

_COLUMNS: Final = """
user_id, name, display_name, email, roles, version, created_by, created_at, updated_at, invitation_expires_at, activated_at,
last_login_at, deleted_at, name_key,
CASE WHEN deleted_at IS NOT NULL THEN 'deleted' WHEN locked_at IS NOT NULL THEN 'locked' WHEN login_id IS NULL THEN 'invited'
     ELSE 'active' END AS status
"""
_SELECT: Final = " ".join(("SELECT * FROM (SELECT", _COLUMNS, "FROM users WHERE tenant_id = tenant.tenant_id) AS u"))
_GET: Final = f"{_SELECT} WHERE user_id = $2"
_PAGE: Final = f"""{_SELECT}
WHERE (status = $2 OR ($2::text IS NULL AND status <> 'deleted')) AND ($3::text IS NULL OR $3 = ANY (roles))
  AND ($4::text IS NULL OR name_key = $4) AND ($5::text IS NULL OR user_id < $5)
ORDER BY user_id DESC LIMIT $6
"""
# Whatever stands in the way, the name or the user itself, the row is not written; which it was is looked at afterwards.
_CREATE: Final = """
INSERT INTO users (tenant_id, user_id, name, name_key, display_name, email, roles, created_by, invitation_sha256,
                   invitation_expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::text[], $8, $9, clock_timestamp() + make_interval(secs => $10))
ON CONFLICT DO NOTHING RETURNING invitation_sha256
"""
_INVITATION: Final = "SELECT invitation_sha256 FROM users WHERE tenant_id = $1 AND user_id = $2"
_LOCK: Final = """
SELECT version, invitation_sha256, deleted_at IS NOT NULL AS deleted FROM users
WHERE tenant_id = $1 AND user_id = $2 FOR UPDATE
"""
_CHANGE: Final = """
UPDATE users SET version = version + 1, updated_at = now(),
    display_name = coalesce($3, display_name), email = CASE WHEN $3::text IS NULL THEN email ELSE $4 END,
    roles = coalesce($5::text[], roles),
    locked_at = CASE WHEN $6::boolean IS NULL THEN locked_at WHEN $6 THEN coalesce(locked_at, now()) END
WHERE tenant_id = $1 AND user_id = $2
RETURNING version, roles, locked_at IS NOT NULL AS locked
"""
_INVITE: Final = """
UPDATE users SET version = version + 1, updated_at = now(), invitation_sha256 = $3,
    invitation_expires_at = clock_timestamp() + make_interval(secs => $4)
WHERE tenant_id = $1 AND user_id = $2
"""
_DELETE: Final = """
UPDATE users SET version = version + 1, updated_at = now(), deleted_at = now(), login_id = NULL, invitation_sha256 = NULL,
    invitation_expires_at = NULL
WHERE tenant_id = $1 AND user_id = $2
"""
_FORGET_LOGINS: Final = "DELETE FROM user_logins WHERE tenant_id = $1 AND user_id = $2 AND login_id IS DISTINCT FROM $3"
# The first login makes nobody's token void: there was none.
_ACTIVATE: Final = """
UPDATE users SET version = version + 1, updated_at = now(), login_id = $4, totp_step = $5,
    activated_at = coalesce(activated_at, now()),
    valid_from = CASE WHEN activated_at IS NULL THEN valid_from ELSE clock_timestamp() END,
    invitation_sha256 = NULL, invitation_expires_at = NULL
WHERE tenant_id = $1 AND user_id = $2 AND invitation_sha256 = $3 AND invitation_expires_at > clock_timestamp()
  AND deleted_at IS NULL
  AND EXISTS (SELECT FROM user_logins l WHERE l.tenant_id = $1 AND l.login_id = $4 AND l.user_id = $2)
RETURNING user_id
"""
_ACTIVATED: Final = "SELECT true FROM users WHERE tenant_id = $1 AND user_id = $2 AND login_id = $3"
_INVITED: Final = """
SELECT user_id, name FROM users WHERE tenant_id = tenant.tenant_id AND invitation_sha256 = $2
  AND invitation_expires_at > clock_timestamp() AND deleted_at IS NULL
"""
_KEEP_LOGIN: Final = """
INSERT INTO user_logins (tenant_id, login_id, user_id, password_hash, sealed_seed)
SELECT tenant_id, $2, $3, $4, $5 FROM tenant
"""


class PostgresUsers:
    """UserStore, UserReads and Activations over `users` and `user_logins`. Every method raises DependencyUnavailable."""

    def __init__(self, pool: Pool) -> None:
        """`pool` connects as the application's role."""
        self._pool = pool

    async def create(self, user: UserInput) -> UserInvitationOutcome:
        """Adds the user and `user.created`. Raises Conflict when the name is taken, or looks like one that is."""
        actor = user.actor
        async with tenant_transaction(self._pool, actor.tenant_id) as connection:
            profile = await _profile(connection, actor.tenant_id, user.profile)
            made = await connection.fetchval(
                _CREATE,
                actor.tenant_id,
                user.user_id,
                profile.name,
                name_key(profile.name),
                profile.display_name,
                profile.email,
                list(user.roles),
                actor.subject,
                user.invitation_sha256,
                user.lifetime_seconds,
            )
            if made is not None:
                created = UserCreated(user_id=user.user_id, roles=user.roles, subject=actor.subject)
                await _tell(connection, actor.tenant_id, created)
                return UserInvitationOutcome(invitation_sha256=made)
            kept = await connection.fetchval(_INVITATION, actor.tenant_id, user.user_id)
            if kept is None:
                raise Conflict("A user has that name, or one that looks like it; choose another.")
            return UserInvitationOutcome(invitation_sha256=kept)

    async def change(self, change: UserChangeInput) -> None:
        """Changes the user and tells `user.changed`. Raises PreconditionFailed, NotFound."""
        tenant_id, subject = change.actor.tenant_id, change.actor.subject
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await _locked(connection, tenant_id, change.user_id)
            if await was_made(connection, tenant_id, change.change_id):
                return
            _check_version(row, change.version)
            check_version(change.version, change.expected)
            profile = await _profile(connection, tenant_id, change.profile) if change.profile is not None else None
            roles = list(change.roles) if change.roles is not None else None
            shown, email = (profile.display_name, profile.email) if profile is not None else (None, None)
            values = (shown, email, roles, change.locked)
            (changed,) = await connection.fetch(_CHANGE, tenant_id, change.user_id, *values)
            told = UserChanged(
                user_id=change.user_id,
                members=tuple(name for name in ("profile", "roles", "locked") if getattr(change, name) is not None),
                roles=tuple(changed["roles"]),
                locked=changed["locked"],
                version=changed["version"],
                subject=subject,
            )
            await tell_change(connection, tenant_id, change.change_id, told)

    async def invite(self, invitation: UserInvitationInput) -> UserInvitationOutcome:
        """Invites the user anew and tells `user.invited`. Raises PreconditionFailed, NotFound."""
        tenant_id, sha256 = invitation.actor.tenant_id, invitation.invitation_sha256
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await _locked(connection, tenant_id, invitation.user_id)
            if row["invitation_sha256"] != sha256:
                _check_version(row, invitation.version)
                await connection.execute(_INVITE, tenant_id, invitation.user_id, sha256, invitation.lifetime_seconds)
                told = UserInvited(user_id=invitation.user_id, subject=invitation.actor.subject)
                await _tell(connection, tenant_id, told)
        return UserInvitationOutcome(invitation_sha256=sha256)

    async def delete(self, deletion: UserDeletionInput) -> None:
        """Ends the user and tells `user.deleted`; again is harmless. Raises PreconditionFailed, NotFound."""
        tenant_id, user_id = deletion.actor.tenant_id, deletion.user_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            row = await _locked(connection, tenant_id, user_id, deleted_too=True)
            if row["deleted"]:
                return
            _check_version(row, deletion.version)
            await connection.execute(_DELETE, tenant_id, user_id)
            await connection.execute(_FORGET_LOGINS, tenant_id, user_id, None)
            await _tell(connection, tenant_id, UserDeleted(user_id=user_id, subject=deletion.actor.subject))

    async def activate(self, activation: UserActivationInput) -> None:
        """Makes the login the user's and tells `user.activated`. Raises Forbidden when the invitation does not hold."""
        tenant_id, user_id, login_id = activation.tenant_id, activation.user_id, activation.login_id
        async with tenant_transaction(self._pool, tenant_id) as connection:
            values = (activation.invitation_sha256, login_id, activation.step)
            if await connection.fetchval(_ACTIVATE, tenant_id, user_id, *values) is not None:
                await connection.execute(_FORGET_LOGINS, tenant_id, user_id, login_id)
                await _tell(connection, tenant_id, UserActivated(user_id=user_id))
            elif not await connection.fetchval(_ACTIVATED, tenant_id, user_id, login_id):
                raise Forbidden("The invitation does not hold: used, expired or replaced; ask for another.")

    async def get(self, tenant_id: str, user_id: str) -> UserView:
        """One user, deleted or not. Raises NotFound."""
        parse_id(Prefix.USER, user_id)
        rows = await tenant_select(self._pool, tenant_id, _GET, user_id)
        if not rows:
            raise _unknown()
        return _view(rows[0])

    async def page(
        self,
        tenant_id: str,
        *,
        status: UserStatus | None,
        role: str | None,
        name: str | None,
        after: str | None,
        limit: int,
    ) -> tuple[UserView, ...]:
        """Newest first, from after that id on."""
        key = name_key(name) if name is not None else None
        asked = (status.value if status else None, role, key, after, limit)
        return tuple(_view(row) for row in await tenant_select(self._pool, tenant_id, _PAGE, *asked))

    async def invited(self, tenant_id: str, invitation_sha256: str) -> InvitedUser | None:
        """Whom the invitation is for; None when it does not hold."""
        rows = await tenant_select(self._pool, tenant_id, _INVITED, invitation_sha256)
        return InvitedUser(user_id=rows[0]["user_id"], name=rows[0]["name"]) if rows else None

    async def keep_login(self, tenant_id: str, user_id: str, login_id: str, password_hash: str, sealed_seed: bytes) -> None:
        """Stores a login; it opens nothing until the user's row names it."""
        await tenant_insert(self._pool, tenant_id, _KEEP_LOGIN, login_id, user_id, password_hash, sealed_seed)


async def _profile(connection: Connection, tenant_id: str, profile: BlobRef) -> UserProfile:
    return UserProfile.model_validate_json(await stored_bytes(connection, tenant_id, profile.sha256))


async def _locked(connection: Connection, tenant_id: str, user_id: str, *, deleted_too: bool = False) -> Row:
    row = await connection.fetchrow(_LOCK, tenant_id, user_id)
    if row is None or (row["deleted"] and not deleted_too):
        raise _unknown()
    return row


def _check_version(row: Row, version: int) -> None:
    if row["version"] != version:
        raise PreconditionFailed("The user was changed meanwhile; read it again, and repeat what is still wanted.")


async def _tell(connection: Connection, tenant_id: str, data: EventData) -> None:
    await insert_events(connection, tenant_id, (event_of(data),))


def _view(row: Row) -> UserView:
    values: dict[str, Any] = {name: row[name] for name in UserView.model_fields}
    return UserView.model_validate(values)


def _unknown() -> NotFound:
    return NotFound("No user has that id.")
