"""The client a home's commands ask the gateway with, one file a tenant: `keys/<tenant>-client.json` (0600)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from pydantic import SecretStr, TypeAdapter, ValidationError

from domain.base import Contract, TenantId
from domain.errors import DependencyUnavailable, InvalidRequest, Unauthenticated
from workers.embedded.files import make_private, write_atomically

DEMO_TENANT: Final = "demo"
_TENANT: Final = TypeAdapter[str](TenantId)


class Credentials(Contract):
    """What a client of OAuth 2 client credentials shows."""

    client_id: str
    client_secret: SecretStr
    tenant: TenantId


def checked_tenant(text: str) -> str:
    """The tenant named on the command line. Raises InvalidRequest for what is no tenant's slug."""
    try:
        return _TENANT.validate_python(text)
    except ValidationError:
        raise InvalidRequest(
            "A tenant is named by at most 48 lower-case letters, digits and hyphens, and begins with no hyphen."
        ) from None


def credentials_file(home: Path, tenant: str) -> Path:
    """Where the tenant's credentials stand."""
    return home / "keys" / f"{checked_tenant(tenant)}-client.json"


def find_credentials(home: Path, tenant: str) -> Credentials | None:
    """The tenant's credentials; None when there are none that can be read. Raises InvalidRequest."""
    try:
        return Credentials.model_validate_json(credentials_file(home, tenant).read_bytes())
    except (OSError, ValidationError):
        return None


def read_credentials(home: Path, tenant: str) -> Credentials:
    """The tenant's credentials. Raises DependencyUnavailable when there are none, InvalidRequest."""
    found = find_credentials(home, tenant)
    if found is None:
        how = "start the stack with `soma up`" if tenant == DEMO_TENANT else f"make them with `soma bootstrap --tenant {tenant}`"
        raise DependencyUnavailable(f"There are no credentials in {credentials_file(home, tenant)}; {how}.")
    return found


def write_credentials(home: Path, credentials: Credentials) -> Path:
    """Replaces the tenant's credentials; returns the file. Raises OSError."""
    path = credentials_file(home, credentials.tenant)
    make_private(path.parent)
    shown = credentials.model_dump() | {"client_secret": credentials.client_secret.get_secret_value()}
    write_atomically(path, json.dumps(shown, indent=1))
    return path


class Login(Contract):
    """What `soma login` got: a person's token, until `expires_at` (seconds since the epoch), for the gateway at that address."""

    access_token: SecretStr
    expires_in: int
    expires_at: float
    gateway: str


def login_file(home: Path, tenant: str) -> Path:
    """Where a person's token for the tenant stands."""
    return home / "keys" / f"{checked_tenant(tenant)}-login.json"


def write_login(home: Path, tenant: str, login: Login) -> Path:
    """Replaces the token; returns the file (0600). Raises OSError."""
    path = login_file(home, tenant)
    make_private(path.parent)
    write_atomically(path, json.dumps(login.model_dump() | {"access_token": login.access_token.get_secret_value()}, indent=1))
    return path


def find_login(home: Path, tenant: str) -> Login | None:
    """The person who is logged in; None when nobody is. Raises Unauthenticated when the log-in cannot be read any more: nobody
    is made the admin client by a log-in that ended."""
    path = login_file(home, tenant)
    try:
        return Login.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        raise Unauthenticated(f"{path} cannot be read; `soma login` again, or `soma logout`.") from None
