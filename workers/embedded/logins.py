"""Which login user of the environment belongs to which group role of the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from adapters.postgres.migrate import Login

GROUPS: Final[Mapping[str, str]] = {
    "DATABASE_URL": "soma_app",
    "DATABASE_RELAY_URL": "soma_relay",
    "DATABASE_TOKEN_URL": "soma_token",
}


def logins(environment: Mapping[str, str]) -> list[Login]:
    """The login users that `environment` names; a variable that is unset or empty is left out."""
    return [Login(group, environment[name]) for name, group in GROUPS.items() if environment.get(name)]
