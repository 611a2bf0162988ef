"""Users: their rows, how they read, what their roles open, and what they log in with."""

from __future__ import annotations

from typing import Protocol

from domain.base import Contract
from domain.users import (
    UserActivationInput,
    UserChangeInput,
    UserDeletionInput,
    UserInput,
    UserInvitationInput,
    UserInvitationOutcome,
    UserStatus,
    UserView,
)


class RoleScopes(Protocol):
    """What roles open."""

    async def opened(self, tenant_id: str, roles: tuple[str, ...]) -> dict[str, frozenset[str]]:
        """The capabilities of each of these roles that exists; one that does not is left out."""
        ...


class UserStore(Protocol):
    """Rows of users, each change written with its event. A repeated attempt changes nothing."""

    async def create(self, user: UserInput) -> UserInvitationOutcome:
        """Adds the user. Raises Conflict when the name is taken, or looks like one that is."""
        ...

    async def change(self, change: UserChangeInput) -> None:
        """Changes the user while it has the version. Raises PreconditionFailed, NotFound."""
        ...

    async def invite(self, invitation: UserInvitationInput) -> UserInvitationOutcome:
        """Puts the invitation in the place of an earlier one. Raises PreconditionFailed, NotFound."""
        ...

    async def delete(self, deletion: UserDeletionInput) -> None:
        """Ends the user for good. Raises PreconditionFailed, NotFound."""
        ...

    async def activate(self, activation: UserActivationInput) -> None:
        """Makes the stored login the user's. Raises Forbidden when the invitation does not hold any more."""
        ...


class UserReads(Protocol):
    """Users of one tenant."""

    async def get(self, tenant_id: str, user_id: str) -> UserView:
        """One user, deleted or not. Raises NotFound."""
        ...

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
        """Newest first, from after that id on; deleted ones only when that status is asked for. `name` also finds the one that
        looks like it."""
        ...


class InvitedUser(Contract):
    """Whom an invitation that holds is for."""

    user_id: str
    name: str


class Activations(Protocol):
    """What the gateway stores of somebody who was invited, before the workflow makes it theirs."""

    async def invited(self, tenant_id: str, invitation_sha256: str) -> InvitedUser | None:
        """Whom the invitation is for; None when it is unknown, expired, used, or its user is gone."""
        ...

    async def keep_login(self, tenant_id: str, user_id: str, login_id: str, password_hash: str, sealed_seed: bytes) -> None:
        """Stores a login; it opens nothing until the user's row names it."""
        ...


class Passwords(Protocol):
    """Hashes passwords, slowly on purpose."""

    async def hash(self, password: str) -> str:
        """The hash, with its salt and parameters."""
        ...

    async def matches(self, hashed: str | None, password: str) -> bool:
        """Whether the password has that hash. Against None it takes as long and is never true."""
        ...


class Sealer(Protocol):
    """Encrypts what must be kept readable. `context` says what it is and whose; what was sealed for another does not open."""

    def seal(self, clear: bytes, context: str) -> bytes:
        """Encrypted. Raises DependencyUnavailable without a key."""
        ...

    def open(self, sealed: bytes, context: str) -> bytes | None:
        """In the clear; None for what was not sealed so, or was changed. Raises DependencyUnavailable without a key."""
        ...
