"""Users: make, invite, read, list, change, delete. The gateway makes an invitation and forgets it: only its digest goes on."""

from __future__ import annotations

import hashlib
import secrets
from typing import Annotated, Any, Final

from fastapi import Query, Request
from fastapi.responses import JSONResponse, Response

from api.auth import ServicesDependency, require
from api.idempotency import Answer, IdempotencyKey, idempotent
from api.paging import Cursor, Limit
from api.preconditions import IfMatch, OptionalIfMatch, check_match, etag, expected_versions
from api.problems import problems
from api.routing import edge_router
from api.services import Services
from api.short_runs import short_run
from api.user_models import InvitationBody, InvitedUserView, UserBody, UserName, UserPage, UserPatch, shown
from domain.actors import Actor
from domain.blobs import BlobRef
from domain.errors import NotFound
from domain.ids import Prefix, format_id
from domain.names import Feature, Scope, WorkflowName
from domain.ports.idempotency import Claim
from domain.roles import RoleName
from domain.users import (
    UserChangeInput,
    UserDeletionInput,
    UserInput,
    UserInvitationInput,
    UserInvitationOutcome,
    UserProfile,
    UserStatus,
    UserView,
    check_grant,
    written_invitation,
)

router = edge_router("identity")

_JSON: Final = "application/json"
_SHOWN_ONCE: Final = "Give the invitation to the user: it is shown this once and stored nowhere."
_SHOWN_BEFORE: Final = "The invitation was shown with the first answer and is stored nowhere; if it was lost, make another."
_WRITES: Final = problems(400, 401, 403, 404, 409, 412, 413, 415, 422, 428, 429, 503)


@router.post(
    "/v1/users",
    summary="Make a user",
    status_code=201,
    response_model=InvitedUserView,
    responses=problems(400, 401, 403, 409, 413, 415, 422, 429, 503),
)
async def make_user(
    body: UserBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.USER_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Makes a user and shows the invitation with which they choose a password and a one-time password, this once. A name that
    looks like another's is 409."""
    await _check_grant(services, actor, body.roles)

    async def make(claim: Claim, sha256: str) -> tuple[str, str]:
        user_id = format_id(Prefix.USER, claim.resource)
        profile = UserProfile(name=body.name, display_name=body.display_name, email=body.email)
        user = UserInput(
            user_id=user_id,
            actor=actor,
            profile=await _kept(services, actor, profile),
            roles=tuple(dict.fromkeys(body.roles)),
            invitation_sha256=sha256,
            lifetime_seconds=body.invitation_seconds,
        )
        names = (WorkflowName.USER_CREATE, Feature.USER)
        outcome = await short_run(services, actor, *names, user_id, user, UserInvitationOutcome)
        return user_id, outcome.invitation_sha256

    return await _inviting(request, services, actor, key, body, 201, make)


@router.post("/v1/users/{user_id}/invite", summary="Invite a user anew", response_model=InvitedUserView, responses=_WRITES)
async def invite_user(
    user_id: str,
    body: InvitationBody,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.USER_WRITE)],
    key: IdempotencyKey,
) -> JSONResponse:
    """Invites a user who has not come yet, or has lost the password or the one-time password. What they log in with now holds
    until they take the invitation; an earlier invitation is void."""
    found = await _found(services, actor, user_id)

    async def make(claim: Claim, sha256: str) -> tuple[str, str]:
        invitation = UserInvitationInput(
            user_id=user_id,
            actor=actor,
            version=found.version,
            invitation_sha256=sha256,
            lifetime_seconds=body.invitation_seconds,
        )
        names = (WorkflowName.USER_INVITE, Feature.USER_INVITATION)
        outcome = await short_run(services, actor, *names, claim.resource.hex, invitation, UserInvitationOutcome)
        return user_id, outcome.invitation_sha256

    return await _inviting(request, services, actor, key, body, 200, make)


@router.get("/v1/users", summary="List users", responses=problems(400, 401, 403))
async def list_users(
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.USER_READ)],
    status: Annotated[UserStatus | None, Query(description="Only those; deleted users are shown only so.")] = None,
    role: Annotated[RoleName | None, Query(description="Only those who have the role.")] = None,
    name: Annotated[UserName | None, Query(description="The one of that name, or of one that looks like it.")] = None,
    after: Cursor = None,
    limit: Limit = 50,
) -> UserPage:
    """The tenant's users, newest first."""
    found = await services.people.users.page(actor.tenant_id, status=status, role=role, name=name, after=after, limit=limit)
    return UserPage(users=found, next=found[-1].user_id if len(found) == limit else None)


@router.get("/v1/users/{user_id}", summary="Read a user", response_model=UserView, responses=problems(401, 403, 404))
async def read_user(
    user_id: str, services: ServicesDependency, actor: Annotated[Actor, require(Scope.USER_READ)]
) -> JSONResponse:
    """Who it is and what they may; never what they log in with. `ETag` is the version for a change."""
    return _answer(await services.people.users.get(actor.tenant_id, user_id))


@router.patch("/v1/users/{user_id}", summary="Change a user", response_model=UserView, responses=_WRITES)
async def change_user(
    user_id: str,
    body: UserPatch,
    request: Request,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.USER_WRITE)],
    key: IdempotencyKey,
    if_match: IfMatch,
) -> JSONResponse:
    """Changes what is named, of the version that `If-Match` names. With fewer roles, or locked, a user's tokens end within a
    second."""
    await services.people.users.get(actor.tenant_id, user_id)

    async def work(claim: Claim) -> Answer:
        found = await _found(services, actor, user_id)
        await _check_grant(services, actor, body.roles or ())
        change = UserChangeInput(
            change_id=claim.resource,
            user_id=user_id,
            actor=actor,
            version=found.version,
            expected=expected_versions(if_match),
            profile=await _changed_profile(services, actor, found, body),
            roles=tuple(dict.fromkeys(body.roles)) if body.roles else None,
            locked=body.locked,
        )
        names = (WorkflowName.USER_CHANGE, Feature.USER_CHANGE)
        await short_run(services, actor, *names, claim.resource.hex, change, type(None))
        user = await services.people.users.get(actor.tenant_id, user_id)
        return Answer(200, shown(user), etag(user.version))

    return await idempotent(request, services, actor, key, body, work)


@router.delete(
    "/v1/users/{user_id}", summary="Delete a user", status_code=204, responses=problems(401, 403, 404, 409, 412, 429, 503)
)
async def delete_user(
    user_id: str,
    services: ServicesDependency,
    actor: Annotated[Actor, require(Scope.USER_WRITE)],
    if_match: OptionalIfMatch = None,
) -> Response:
    """Ends a user for good: within a second their tokens open nothing, and what runs in their name is refused its next step.
    The name may be given again, the id never is. Saying it again is 404. `If-Match` may be left out."""
    found = await _found(services, actor, user_id)
    if if_match is not None:
        check_match(if_match, found.version)
    deletion = UserDeletionInput(user_id=user_id, actor=actor, version=found.version)
    await short_run(services, actor, WorkflowName.USER_DELETE, Feature.USER_DELETION, user_id, deletion, type(None))
    return Response(status_code=204)


async def _found(services: Services, actor: Actor, user_id: str) -> UserView:
    """A user on whom the actor may act. Raises NotFound, also of a deleted one, InsufficientScope."""
    found = await services.people.users.get(actor.tenant_id, user_id)
    if found.status is UserStatus.DELETED:
        raise NotFound("No user has that id.")
    await _check_grant(services, actor, found.roles, gone_too=True)
    return found


async def _check_grant(services: Services, actor: Actor, roles: tuple[str, ...], *, gone_too: bool = False) -> None:
    """Raises InsufficientScope, and Unprocessable for a role there is not; with `gone_too` one that is gone opens nothing."""
    known = await services.people.roles.opened(actor.tenant_id, roles)
    check_grant(actor, [role for role in roles if role in known] if gone_too else roles, known)


async def _changed_profile(services: Services, actor: Actor, found: UserView, body: UserPatch) -> BlobRef | None:
    if not body.model_fields_set & {"display_name", "email"}:
        return None
    email = body.email if "email" in body.model_fields_set else found.email
    profile = UserProfile(name=found.name, display_name=body.display_name or found.display_name, email=email)
    return await _kept(services, actor, profile)


async def _kept(services: Services, actor: Actor, profile: UserProfile) -> BlobRef:
    return await services.blobs.put(actor.tenant_id, profile.model_dump_json().encode(), _JSON)


async def _inviting(
    request: Request, services: Services, actor: Actor, key: str, body: UserBody | InvitationBody, status: int, make: Any
) -> JSONResponse:
    """Answers once with the code that `make` records the digest of. A later answer, or one of an attempt that found another's
    digest in the row, shows none."""
    made: list[str] = []

    async def work(claim: Claim) -> Answer:
        code = written_invitation(actor.tenant_id, secrets.token_urlsafe(32))
        digest = hashlib.sha256(code.encode()).hexdigest()
        user_id, stands = await make(claim, digest)
        if stands == digest:
            made.append(code)
        user = await services.people.users.get(actor.tenant_id, user_id)
        url = f"{services.settings.public_url.rstrip('/')}/v1/activation"
        answer = InvitedUserView(user=user, invitation=None, activation_url=url, note=_SHOWN_BEFORE)
        headers = {"Location": f"/v1/users/{user_id}"} if status == 201 else {}
        return Answer(status, answer.model_dump(mode="json"), headers)

    async def show(answer: Answer) -> Answer:
        fresh = {"invitation": made[0], "note": _SHOWN_ONCE} if made else {}
        return Answer(answer.status, answer.body | fresh, answer.headers)

    return await idempotent(request, services, actor, key, body, work, show)


def _answer(user: UserView) -> JSONResponse:
    return JSONResponse(shown(user), headers=etag(user.version))
