"""Events of people: who they are, their log-ins, and what two of them approve."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Count, Sha256
from domain.event_data.base import EventData
from domain.ids import TwoKeyId, UserId
from domain.names import EventType, LoginFailure, Topic, TwoKeyAction


class OfUser(EventData):
    """An event on a user; its subject is the user's id. Names and addresses are not in it."""

    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    user_id: UserId

    @property
    def about(self) -> str:
        return self.user_id


class UserCreated(OfUser):
    """A user was made and invited. `subject` is who did it."""

    event_type: ClassVar[EventType] = EventType.USER_CREATED

    roles: tuple[str, ...]
    subject: str


class UserChanged(OfUser):
    """A user was changed: `members` names what."""

    event_type: ClassVar[EventType] = EventType.USER_CHANGED

    members: tuple[str, ...]
    roles: tuple[str, ...]
    locked: bool
    version: Count
    subject: str


class UserInvited(OfUser):
    """A user was invited anew, to choose another password and one-time password."""

    event_type: ClassVar[EventType] = EventType.USER_INVITED

    subject: str


class UserActivated(OfUser):
    """A user has chosen a password and a one-time password. What was logged in with before is void."""

    event_type: ClassVar[EventType] = EventType.USER_ACTIVATED


class UserDeleted(OfUser):
    """A user opens nothing any more."""

    event_type: ClassVar[EventType] = EventType.USER_DELETED

    subject: str


class LoginSucceeded(OfUser):
    """A user logged in, by the methods that `amr` names (RFC 8176)."""

    event_type: ClassVar[EventType] = EventType.LOGIN_SUCCEEDED

    client_id: str
    amr: tuple[str, ...]


class LoginFailed(OfUser):
    """Somebody tried to log in as a user. Attempts while it is locked, and for names nobody has, are in the log alone."""

    event_type: ClassVar[EventType] = EventType.LOGIN_FAILED

    reason: LoginFailure


class OfTwoKey(EventData):
    """An event on a two-key request; its subject is the request's id. `digest` is of what is approved."""

    topic: ClassVar[Topic] = Topic.IDENTITY_EVENTS

    approval_id: TwoKeyId
    action: TwoKeyAction
    resource: str
    digest: Sha256

    @property
    def about(self) -> str:
        return self.approval_id


class TwoKeyProposed(OfTwoKey):
    """Two people are asked to approve something."""

    event_type: ClassVar[EventType] = EventType.TWO_KEY_PROPOSED

    subject: str


class TwoKeyApproved(OfTwoKey):
    """A person approved; `complete` with the second."""

    event_type: ClassVar[EventType] = EventType.TWO_KEY_APPROVED

    user_id: UserId
    complete: bool


class TwoKeyWithdrawn(OfTwoKey):
    """A request cannot be approved or used any more."""

    event_type: ClassVar[EventType] = EventType.TWO_KEY_WITHDRAWN

    subject: str


class TwoKeyConsumed(OfTwoKey):
    """What was approved was done."""

    event_type: ClassVar[EventType] = EventType.TWO_KEY_CONSUMED

    approvers: tuple[UserId, UserId]


EVENTS: Final = (
    UserCreated,
    UserChanged,
    UserInvited,
    UserActivated,
    UserDeleted,
    LoginSucceeded,
    LoginFailed,
    TwoKeyProposed,
    TwoKeyApproved,
    TwoKeyWithdrawn,
    TwoKeyConsumed,
)
