"""Bodies and answers of the routes about users."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, Field, Strict, StringConstraints, model_validator

from api.edge_types import CleanText, Name
from domain.base import Contract
from domain.users import LONGEST_NAME, InvitationLife, Roles, UserView, normal_name

DAY_SECONDS: Final = 86_400

UserName = Annotated[
    CleanText,
    StringConstraints(min_length=1, max_length=LONGEST_NAME),
    AfterValidator(normal_name),
    Field(json_schema_extra={"pattern": r"^[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}$"}, examples=["ada"]),
]
"""What somebody logs in with. Letters of every script are taken; the document names the ASCII ones."""

Email = Annotated[
    CleanText,
    StringConstraints(max_length=254, pattern=r"^[A-Za-z0-9._%+'-]{1,64}@[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63}){1,8}$"),
    Field(examples=["ada@example.com"]),
]
Lifetime = Annotated[InvitationLife, Strict(), Field(description="Until the invitation expires.", examples=[DAY_SECONDS])]


class UserBody(Contract):
    """A user to make."""

    name: UserName
    display_name: Annotated[Name, Field(examples=["Ada Lovelace"])]
    email: Email | None = None
    roles: Annotated[Roles, Field(description="Each may open no more than the token at hand.", examples=[["member"]])]
    invitation_seconds: Lifetime = 3 * DAY_SECONDS


class UserPatch(Contract):
    """What is to change (RFC 7396): members left out stay as they are, and a null `email` removes it."""

    display_name: Name | None = None
    email: Email | None = None
    roles: Roles | None = None
    locked: Annotated[bool, Strict()] | None = Field(default=None, description="A locked user's tokens end within a second.")

    @model_validator(mode="after")
    def _said(self) -> Self:
        for name in ("display_name", "roles", "locked"):
            if name in self.model_fields_set and getattr(self, name) is None:
                raise ValueError(f"`{name}` cannot be removed; leave it out to keep it")
        if not self.model_fields_set:
            raise ValueError("Name at least one member to change")
        return self


class InvitationBody(Contract):
    """How long the new invitation is to hold."""

    invitation_seconds: Lifetime = 3 * DAY_SECONDS


class InvitedUserView(Contract):
    """A user and their invitation. `invitation` is in the first answer alone; a replay has null, and `note` says what to do."""

    user: UserView
    invitation: str | None = Field(description="The code itself; null in a replay.", examples=["soma_inv_demo.5rV0…"])
    activation_url: str = Field(description="Where the user takes it.", examples=["http://127.0.0.1:8080/v1/activation"])
    note: str


class UserPage(Contract):
    """Users, newest first."""

    users: tuple[UserView, ...]
    next: str | None = Field(description="Cursor of the next page; null on the last.")


def shown(user: UserView) -> dict[str, Any]:
    """A user as JSON."""
    return user.model_dump(mode="json")
