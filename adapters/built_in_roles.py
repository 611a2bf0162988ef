"""What the built-in roles open, which is the same in every tenant."""

from __future__ import annotations

from domain.roles import BUILT_IN_ROLES


class BuiltInRoles:
    """Implements `RoleScopes`."""

    async def scopes_of(self, tenant_id: str, roles: tuple[str, ...]) -> dict[str, frozenset[str]]:
        """The capabilities of each of these roles that exists."""
        del tenant_id
        return {role: frozenset(scope.value for scope in BUILT_IN_ROLES[role]) for role in roles if role in BUILT_IN_ROLES}
