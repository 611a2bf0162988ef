"""Users: the people of a tenant, their names, and what the workflows about them are handed.

A user opens what its roles do. Nobody gives a role, nor an invitation to somebody, that opens more than they may open.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Final
from uuid import UUID

from pydantic import Field

from domain.actors import Actor
from domain.base import Contract, Count, Sha256, TenantId, UtcTime
from domain.blobs import BlobRef
from domain.capabilities import within
from domain.errors import Forbidden, InsufficientScope, Unprocessable
from domain.ids import LoginId, UserId
from domain.lookalikes import LOOKALIKES
from domain.roles import RoleName

LONGEST_NAME: Final = 64
SHORTEST_PASSWORD: Final = 12
LONGEST_PASSWORD: Final = 256
"""Characters, after NFKC. The bound stands before the hash, whose cost must not be the caller's to choose."""
_FEWEST_DIFFERENT: Final = 5
LONGEST_INVITATION_SECONDS: Final = 30 * 86_400
MOST_ROLES: Final = 16

_NAME: Final = re.compile(r"[^\W_][\w.@+-]{0,63}\Z")
_USER: Final = re.compile(r"usr_[0-9a-f]{32}\Z")
_INVITATION: Final = re.compile(r"soma_inv_([a-z0-9][a-z0-9-]{0,47})\.([A-Za-z0-9_-]{43})\Z")
# Letters are taken apart, never put together, so that it does not matter where a pair begins.
_ALIKE: Final = str.maketrans({"0": "o", "1": "l", "i": "l", "m": "rn", "w": "vv"})
_MARKS: Final = frozenset({"Mn", "Me", "Cf"})

Version = Annotated[int, Field(ge=1, le=2**53 - 1)]
"""Rises with every change of a user; its ETag."""
Roles = Annotated[tuple[RoleName, ...], Field(min_length=1, max_length=MOST_ROLES)]
InvitationLife = Annotated[int, Field(ge=60, le=LONGEST_INVITATION_SECONDS)]
"""Seconds until an invitation expires."""


class UserStatus(StrEnum):
    """Only an `active` user logs in, and only an active one's tokens stand."""

    INVITED = "invited"
    ACTIVE = "active"
    LOCKED = "locked"
    DELETED = "deleted"


class UserProfile(Contract):
    """What people call a user. It goes by reference, as a blob of JSON, since it is somebody's words."""

    name: str
    display_name: str
    email: str | None = None


class UserView(Contract):
    """A user as it reads. `version` is its ETag."""

    user_id: UserId
    name: str
    display_name: str
    email: str | None
    roles: tuple[str, ...]
    status: UserStatus
    version: Version
    created_by: str
    created_at: UtcTime
    updated_at: UtcTime
    invitation_expires_at: UtcTime | None
    activated_at: UtcTime | None
    last_login_at: UtcTime | None
    deleted_at: UtcTime | None


class UserInput(Contract):
    """Argument of `user.create`. The invitation is named by the digest of its code."""

    user_id: UserId
    actor: Actor
    profile: BlobRef
    roles: Roles
    invitation_sha256: Sha256
    lifetime_seconds: InvitationLife


class UserChangeInput(Contract):
    """Argument of `user.change`. None leaves a member as it is.

    `version` is the one whose roles the caller was found to be above: the change is made of no other. It has to be one of those
    `expected`, too (None: any).
    """

    change_id: UUID
    user_id: UserId
    actor: Actor
    version: Version
    expected: tuple[int, ...] | None = None
    profile: BlobRef | None = None
    roles: Roles | None = None
    locked: bool | None = None


class UserInvitationInput(Contract):
    """Argument of `user.invite`: a new invitation in place of an earlier one."""

    user_id: UserId
    actor: Actor
    version: Version
    invitation_sha256: Sha256
    lifetime_seconds: InvitationLife


class UserInvitationOutcome(Contract):
    """Result of `user.create` and `user.invite`: the digest that stands in the row, which is that of the first attempt's code."""

    invitation_sha256: Sha256


class UserDeletionInput(Contract):
    """Argument of `user.delete`."""

    user_id: UserId
    actor: Actor
    version: Version


class UserActivationInput(Contract):
    """Argument of `user.activate`: the login that stands in the store already, and the TOTP step its first code was of."""

    tenant_id: TenantId
    user_id: UserId
    invitation_sha256: Sha256
    login_id: LoginId
    step: Count


def is_user(subject: str) -> bool:
    """Whether a subject is a person's id."""
    return _USER.match(subject) is not None


def normal_name(name: str) -> str:
    """The name as it is kept: NFKC. Raises ValueError for what is no name."""
    normal = unicodedata.normalize("NFKC", name)
    if len(normal) > LONGEST_NAME or _NAME.match(normal) is None:
        raise ValueError(f"A user's name is 1 to {LONGEST_NAME} letters, digits and . _ @ + -, and begins with a letter or digit")
    return normal


def name_key(name: str) -> str:
    """What two names share that look alike: case, marks and look-alikes of other scripts folded, as well as `0` and `o`, `1`,
    `i` and `l`, `rn` and `m`, `vv` and `w`. Total and idempotent."""
    current, previous = name, ""
    while current != previous:
        previous, current = current, _folded_once(current)
    return current


def _folded_once(text: str) -> str:
    plain = "".join(LOOKALIKES.get(each, each.casefold()) for each in unicodedata.normalize("NFKD", text))
    return "".join(each for each in plain if unicodedata.category(each) not in _MARKS).translate(_ALIKE)


def normal_password(password: str, name: str) -> str:
    """The password as it is hashed: NFKC, as NIST SP 800-63B asks. Raises Unprocessable for one that is too short, too long,
    of few different characters, or that holds the user's name."""
    normal = bounded_password(password)
    if normal is None or len(normal) < SHORTEST_PASSWORD:
        raise Unprocessable(f"A password has {SHORTEST_PASSWORD} to {LONGEST_PASSWORD} characters; choose another.")
    if len(set(normal)) < _FEWEST_DIFFERENT or name_key(name) in name_key(normal):
        raise Unprocessable("That password is easily guessed: few different characters, or your own name; choose another.")
    return normal


def bounded_password(password: str) -> str | None:
    """NFKC of what was typed as a password; None for what is too long to be one."""
    if len(password) > LONGEST_PASSWORD:
        return None
    normal = unicodedata.normalize("NFKC", password)
    return normal if len(normal) <= LONGEST_PASSWORD else None


def written_invitation(tenant_id: str, random: str) -> str:
    """An invitation's code from the base64url of 32 random bytes. It names its tenant, in which it is looked up."""
    return f"soma_inv_{tenant_id}.{random}"


def tenant_of_invitation(code: str) -> str | None:
    """The tenant a code names; None for what is no code."""
    match = _INVITATION.match(code)
    return match[1] if match else None


def check_grant(actor: Actor, roles: Iterable[str], known: Mapping[str, frozenset[str]]) -> None:
    """Whether the actor may give these roles, or act on a user who has them: they hold all that the roles open. `known` is what
    each existing role opens. Raises Unprocessable for an unknown role, InsufficientScope, and Forbidden for a narrowed authority.
    """
    if actor.session_id is not None:
        raise Forbidden("This token is bound to a session and manages no users; use a token that is not.")
    for role in roles:
        if role not in known:
            raise Unprocessable(f"There is no role {role}; name one that there is.")
        beyond = sorted(capability for capability in known[role] if not within(capability, actor.scopes))
        if beyond:
            raise InsufficientScope(
                f"The role {role} opens {beyond[0]}, which this token lacks; nobody gives more than they hold.", scope=beyond[0]
            )
