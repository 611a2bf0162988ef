"""Bring a database to the newest schema and make the login users of our processes.

The plain SQL of `migrations/` is run by dbmate as the schema's owner. A login user that already works (a managed server's
administrator made it) is left as it is; otherwise the owner, who needs CREATEROLE and no more, makes it. Only a SCRAM verifier of
its password is sent (RFC 5803), so no password can reach the server's log.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import asyncpg

from domain.errors import DependencyUnavailable, InvalidRequest

MIGRATIONS: Final = Path(__file__).with_name("migrations")
_LOCK: Final = 0x736F6D61
"""Advisory lock held while migrating: dbmate itself takes none."""
_SCRAM_ITERATIONS: Final = 4096
_INHERIT_IN_GRANT: Final = 16


@dataclass(frozen=True)
class Login:
    """A login user, named with its password in `url`, that is to be a member of the group role `group`."""

    group: str
    url: str

    @property
    def user(self) -> str:
        """Its name."""
        return unquote(urlsplit(self.url).username or "")

    @property
    def password(self) -> str:
        """Its password; empty when the address holds none."""
        return unquote(urlsplit(self.url).password or "")


async def migrate(owner_url: str, logins: list[Login], *, dbmate: Path, wait_seconds: float = 60.0) -> None:
    """Apply every migration that is missing, then see that each login user connects and is a member of its group.

    Safe to repeat and to run twice at once. Waits at most `wait_seconds` for the server. Raises DependencyUnavailable when the
    server does not answer or refuses, InvalidRequest when a login address cannot be used.
    """
    for login in logins:
        _check(login, owner_url)
    connection = await _connect_patiently(owner_url, wait_seconds)
    try:
        # A lock that another migration holds for longer is a stuck migration.
        await connection.execute(f"SET lock_timeout = {int(wait_seconds * 1000)}")
        await connection.execute("SELECT pg_advisory_lock($1)", _LOCK)
        await _run_dbmate(dbmate, owner_url, wait_seconds)
        for login in logins:
            await _ensure(connection, login)
    except asyncpg.LockNotAvailableError as error:
        raise DependencyUnavailable("Another migration holds the lock; wait until it has ended and try again.") from error
    except (asyncpg.PostgresError, OSError) as error:
        raise DependencyUnavailable(f"Postgres refused while migrating ({type(error).__name__}); see its log.") from error
    finally:
        await connection.close()


def _check(login: Login, owner_url: str) -> None:
    if not login.user:
        raise InvalidRequest(
            f"The address for {login.group} names no user; write it as postgresql://user:password@host/database."
        )
    if login.user == unquote(urlsplit(owner_url).username or ""):
        raise InvalidRequest(
            f"The address for {login.group} is the schema owner's, who may do too much; give it a user of its own."
        )


async def _connect_patiently(url: str, seconds: float) -> asyncpg.Connection[Any]:
    """Connect, trying again while the server is not there. Raises DependencyUnavailable."""
    deadline = asyncio.get_running_loop().time() + seconds
    while True:
        try:
            return await asyncpg.connect(url, timeout=5.0)
        except (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError) as error:
            raise DependencyUnavailable(
                "Postgres refuses the address of the schema's owner; check user, password and database of DATABASE_MIGRATION_URL."
            ) from error
        except (OSError, TimeoutError, asyncpg.PostgresError) as error:
            if asyncio.get_running_loop().time() > deadline:
                raise DependencyUnavailable(
                    f"Postgres did not answer within {seconds:.0f} s; start it or correct DATABASE_MIGRATION_URL."
                ) from error
            await asyncio.sleep(0.1)


async def _run_dbmate(dbmate: Path, url: str, seconds: float) -> None:
    process = await asyncio.create_subprocess_exec(
        str(dbmate),
        "--no-dump-schema",
        "--migrations-dir",
        str(MIGRATIONS),
        "migrate",
        # The address holds a password, so it goes by the environment.
        env={"PATH": os.environ.get("PATH", ""), "DATABASE_URL": _with_sslmode(url)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), timeout=max(seconds, 60.0))
    except TimeoutError as error:
        process.kill()
        await process.wait()
        raise DependencyUnavailable("A migration did not end in time; see what it waits for.") from error
    if process.returncode != 0:
        lines = output.decode(errors="replace").strip().splitlines()
        raise DependencyUnavailable(f"A migration failed ({lines[-1] if lines else 'no output'}); correct it and migrate again.")


def _with_sslmode(url: str) -> str:
    """libpq's and asyncpg's default is `prefer`; dbmate's driver knows no such mode and insists on TLS unless told."""
    query = urlsplit(url).query
    if "sslmode=" in query and "sslmode=prefer" not in query and "sslmode=allow" not in query:
        return url
    if "sslmode=" in query:
        return url.replace("sslmode=prefer", "sslmode=disable").replace("sslmode=allow", "sslmode=disable")
    return f"{url}{'&' if query else '?'}sslmode=disable"


async def _ensure(connection: asyncpg.Connection[Any], login: Login) -> None:
    """Make the login user, its password and its membership what they must be. Raises asyncpg.PostgresError."""
    exists = await connection.fetchval("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", login.user)
    if exists and await _works(login):
        return
    if not exists:
        await _execute(connection, "CREATE ROLE %I LOGIN INHERIT", login.user)
    if login.password:
        await _execute(connection, "ALTER ROLE %I LOGIN INHERIT PASSWORD %L", login.user, scram_verifier(login.password))
    # Before 16 a membership inherits because the member's own attribute says so; since then the grant itself says it.
    inherit = " WITH INHERIT TRUE" if connection.get_server_version().major >= _INHERIT_IN_GRANT else ""
    await _execute(connection, f"GRANT %I TO %I{inherit}", login.group, login.user)
    if not await _works(login):
        raise DependencyUnavailable(
            f"The user {login.user} still cannot use the rights of {login.group}; check its address and the server's pg_hba.conf."
        )


async def _works(login: Login) -> bool:
    """Whether its address connects, and to a user that has the rights of its group and is above no policy."""
    try:
        connection = await asyncpg.connect(login.url, timeout=5.0)
    except (asyncpg.PostgresError, OSError, TimeoutError):
        return False
    try:
        return bool(
            await connection.fetchval(
                "SELECT pg_has_role(current_user, $1, 'USAGE') AND NOT rolsuper AND NOT rolbypassrls "
                "FROM pg_roles WHERE rolname = current_user",
                login.group,
            )
        )
    finally:
        await connection.close()


async def _execute(connection: asyncpg.Connection[Any], template: str, *values: str) -> None:
    """Run a statement that takes no parameters, quoted by the server's own `format`."""
    places = ", ".join(f"${number}::text" for number in range(2, len(values) + 2))
    statement = await connection.fetchval(f"SELECT format($1, {places})", template, *values)
    await connection.execute(statement)


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """The form in which Postgres stores a password: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (RFC 5802, 5803).

    `salt` is 16 random bytes unless given. Raises InvalidRequest for a password outside ASCII, which would have to be normalised.
    """
    if not password.isascii():
        raise InvalidRequest("A database password holds characters outside ASCII; choose another one.")
    salt = secrets.token_bytes(16) if salt is None else salt
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored_key = hashlib.sha256(client_key).digest()
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    encoded = [base64.b64encode(part).decode() for part in (salt, stored_key, server_key)]
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{encoded[0]}${encoded[1]}:{encoded[2]}"
