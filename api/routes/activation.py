"""Where somebody takes an invitation: they choose a password, put our TOTP seed into an app, and show that it works.

The seed stands in the page, encrypted, until it does: nothing is written before. No cookie is used, so there is no browser's
authority that another site could use.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
import time
from html import escape
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from api.auth import ServicesDependency
from api.routing import body_limit, edge_router
from api.services import Services
from api.sign_in.forms import FORM_BYTES, form_of
from api.sign_in.log_in import seed_context
from api.sign_in.pages import code_field, field, form, page, sentence, wrong
from api.workflow_calls import run_to_end
from domain.errors import Forbidden, InvalidRequest, Unprocessable
from domain.ids import Prefix
from domain.names import Feature, WorkflowName, workflow_id
from domain.ports.users import InvitedUser
from domain.totp import SEED_BYTES, address_of, matching_step, written_seed
from domain.users import LONGEST_PASSWORD, SHORTEST_PASSWORD, UserActivationInput, normal_password, tenant_of_invitation
from runtime.ids import new_id

ACTIVATION_PATH: Final = "/v1/activation"
PAGES_BY_ADDRESS: Final = 600
_TITLE: Final = "Take your invitation"
_NO_INVITATION: Final = "This invitation does not hold: unknown, expired, used or replaced. Ask for another."

router = edge_router("identity")


@router.get(ACTIVATION_PATH, include_in_schema=False)
async def ask_for_invitation() -> Response:
    """Shows where the invitation is typed."""
    return _first_page()


@router.post(ACTIVATION_PATH, include_in_schema=False, dependencies=[body_limit(FORM_BYTES)])
async def take_invitation(request: Request, services: ServicesDependency) -> Response:
    """Shows the seed for an invitation that holds; with a password and a code it activates the user."""
    address = request.client.host if request.client else "unknown"
    quota = await services.rate_limiter.take("activation-address", address, PAGES_BY_ADDRESS)
    if not quota.allowed:
        text = f"Too many attempts. Wait {quota.reset_seconds} seconds, then start again."
        return sentence("Too many attempts", text, status=429, headers={"Retry-After": str(quota.reset_seconds)})
    try:
        given = await form_of(request)
    except InvalidRequest as error:
        return sentence(_TITLE, error.detail, status=400)
    code = given.get("invitation", "").strip()
    tenant, sha256 = tenant_of_invitation(code), hashlib.sha256(code.encode()).hexdigest()
    user = await services.people.activations.invited(tenant, sha256) if tenant else None
    if tenant is None or user is None:
        return _first_page(_NO_INVITATION, 403)
    if "seed" not in given:
        seed = secrets.token_bytes(SEED_BYTES)
        return _second_page(services, tenant, user, code, seed)
    return await _activated(services, tenant, user, code, given)


async def _activated(services: Services, tenant: str, user: InvitedUser, code: str, given: dict[str, str]) -> Response:
    """Stores what the user logs in with and has a workflow make it theirs."""
    sha256 = hashlib.sha256(code.encode()).hexdigest()
    seed = _opened(services, given["seed"], _pending(tenant, user, sha256))
    if seed is None:
        return _first_page("That page was changed or is of another invitation. Start again.", 400)
    step = matching_step(seed, "".join(given.get("code", "").split()), time.time())
    try:
        password = normal_password(given.get("password", ""), user.name)
    except Unprocessable as error:
        return _second_page(services, tenant, user, code, seed, error.detail)
    if given.get("again", "") != given.get("password", ""):
        return _second_page(services, tenant, user, code, seed, "The two passwords differ.")
    if step is None:
        return _second_page(services, tenant, user, code, seed, "That is not the app's code of now; see that its clock is right.")
    login_id = new_id(Prefix.LOGIN)
    sealed = services.people.sealer.seal(seed, seed_context(tenant, user.user_id, login_id))
    hashed = await services.people.passwords.hash(password)
    await services.people.activations.keep_login(tenant, user.user_id, login_id, hashed, sealed)
    activation = UserActivationInput(
        tenant_id=tenant, user_id=user.user_id, invitation_sha256=sha256, login_id=login_id, step=step
    )
    try:
        await run_to_end(
            services.temporal,
            name=WorkflowName.USER_ACTIVATE,
            arg=activation,
            workflow_id=workflow_id(Feature.USER_ACTIVATION, tenant, login_id),
            feature=Feature.USER_ACTIVATION,
            tenant_id=tenant,
            region=services.settings.region,
            result=type(None),
        )
    except Forbidden:
        return _first_page(_NO_INVITATION, 403)
    return page(
        "You can log in now",
        f"<p>You are <strong>{escape(user.name)}</strong> of the tenant <strong>{escape(tenant)}</strong>. "
        "Use <code>soma login</code>, with the next code of your app.</p>",
    )


def _first_page(said: str = "", status: int = 200) -> Response:
    fields = field("invitation", "Invitation", longest=128)
    return page(_TITLE, wrong(said) + form(ACTIVATION_PATH, fields, "Go on", {}), status=status)


def _second_page(services: Services, tenant: str, user: InvitedUser, code: str, seed: bytes, said: str = "") -> Response:
    sha256 = hashlib.sha256(code.encode()).hexdigest()
    sealed = services.people.sealer.seal(seed, _pending(tenant, user, sha256))
    fields = (
        field(
            "password",
            f"Password of at least {SHORTEST_PASSWORD} characters",
            kind="password",
            longest=LONGEST_PASSWORD,
            fill="new-password",
        )
        + field("again", "The same password again", kind="password", longest=LONGEST_PASSWORD, fill="new-password")
        + code_field()
    )
    address = escape(address_of(seed, f"SomaGent {tenant}", user.name))
    text = (
        f"<p>You are <strong>{escape(user.name)}</strong>. Put this key into an authenticator app: "
        f'<code>{written_seed(seed)}</code></p><p><a href="{address}">Open it in the app on this device</a></p>'
    )
    hidden = {"invitation": code, "seed": base64.urlsafe_b64encode(sealed).decode()}
    body = text + wrong(said) + form(ACTIVATION_PATH, fields, "Activate", hidden)
    return page(_TITLE, body, status=422 if said else 200)


def _pending(tenant: str, user: InvitedUser, invitation_sha256: str) -> str:
    """What a seed that nobody uses yet is sealed for."""
    return f"pending/{tenant}/{user.user_id}/{invitation_sha256}"


def _opened(services: Services, text: str, context: str) -> bytes | None:
    try:
        sealed = base64.b64decode(text, altchars=b"-_", validate=True)
    except (ValueError, binascii.Error):
        return None
    return services.people.sealer.open(sealed, context)
