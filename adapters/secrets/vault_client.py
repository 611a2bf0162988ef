"""One Vault server through hvac, which blocks: everything here runs in a thread. https://developer.hashicorp.com/vault/api-docs

A definite answer (no such secret, not allowed) and none (sealed, away, nonsense) are told apart, since only the latter may be
bridged by what is known.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import hvac
import hvac.exceptions
import requests
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from domain.errors import SecretDenied, SecretMissing, SecretStoreSealed, SecretStoreUnreachable
from domain.ports.secrets import Secret

FIELD: Final = "value"
"""The field of a key-value secret that is read."""
_NEVER: Final = float("inf")


@dataclass(frozen=True)
class VaultAccess:
    """Where Vault is and how we log in; as the settings VAULT_… say."""

    address: str
    namespace: str | None = None
    ca_file: Path | None = None
    auth: Literal["token", "approle", "kubernetes"] = "token"
    token: SecretStr | None = None
    role: str | None = None
    credential_file: Path | None = None
    """The secret id of AppRole or the service account's token; read at each login."""
    auth_mount: str | None = None
    kv_mount: str = "somagent"


class _Metadata(BaseModel):
    version: int = Field(ge=1)


class _Kv(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    data: dict[str, Any]
    metadata: _Metadata


class _Answer(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    data: _Kv
    lease_duration: float = Field(default=0, ge=0, allow_inf_nan=False)


class _Auth(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    client_token: SecretStr
    lease_duration: float = Field(ge=0, allow_inf_nan=False)
    renewable: bool = False


class _Login(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    auth: _Auth


class VaultClient:
    """Reads, logs in and renews. Used by one thread at a time."""

    def __init__(self, access: VaultAccess, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        """`seconds` bounds each wait for Vault."""
        self._access, self._clock = access, clock
        self._session = requests.Session()
        # Neither proxies nor authorities nor a .netrc from the environment: the token goes to Vault alone.
        self._session.trust_env = False
        verify: str | bool = str(access.ca_file) if access.ca_file else True
        self._session.verify = verify
        hvac_client: Any = hvac.Client
        self._vault: Any = hvac_client(
            url=access.address,
            # None yet; left out, hvac would take one from a file in the user's home.
            token="",
            verify=verify,
            timeout=seconds,
            allow_redirects=False,
            session=self._session,
            namespace=access.namespace,
        )
        self._renew_at = self._expires_at = -_NEVER

    def close(self) -> None:
        """Ends connections and forgets the token."""
        self._forget()
        self._session.close()

    def read(self, name: str) -> Secret:
        """The current version. Raises what `Secrets.read` names."""
        self._stand()
        try:
            return self._read(name)
        except SecretDenied:
            if self._access.auth == "token":
                raise
            # The token may have been revoked or have expired; whoever may log in again gets one more try.
            self._forget()
            self._stand()
            return self._read(name)

    def _read(self, name: str) -> Secret:
        said = self._ask(
            f"the secret {name}",
            lambda: self._vault.secrets.kv.v2.read_secret_version(
                path=name, mount_point=self._access.kv_mount, raise_on_deleted_version=True
            ),
        )
        try:
            answer = _Answer.model_validate(said)
        except ValidationError:
            raise SecretStoreUnreachable("Vault answered with something else than a secret; check VAULT_ADDR.") from None
        value = answer.data.data.get(FIELD)
        if not isinstance(value, str) or not value:
            raise SecretMissing(f"The secret {name} in Vault has no text in its field `{FIELD}`; put it there.")
        return Secret(name, SecretStr(value), str(answer.data.metadata.version), answer.lease_duration or None)

    def _stand(self) -> None:
        """Logged in, with a token that lasts."""
        now = self._clock()
        if now < self._renew_at:
            return
        if now < self._expires_at and self._renewed():
            return
        self._log_in()

    def _log_in(self) -> None:
        access = self._access
        if access.auth == "token":
            if access.token is None:
                raise SecretDenied("VAULT_TOKEN is not set; set it, or another VAULT_AUTH.")
            self._vault.token = access.token.get_secret_value()
            said = self._ask("our token", self._vault.auth.token.lookup_self)
            try:
                lookup: dict[str, Any] = said["data"]
                ttl, renewable = float(lookup["ttl"]), bool(lookup.get("renewable"))
            except (KeyError, TypeError, ValueError):
                self._forget()
                raise _nonsense() from None
            # A root token has no end, which is written as 0.
            self._lasts(ttl or _NEVER, renewable=renewable)
            return
        self._forget()
        credential = _content(access.credential_file)
        mount = access.auth_mount or access.auth
        if access.auth == "approle":
            log_in = partial(self._vault.auth.approle.login, role_id=access.role or "", secret_id=credential, mount_point=mount)
        else:
            log_in = partial(self._vault.auth.kubernetes.login, role=access.role or "", jwt=credential, mount_point=mount)
        self._take(self._ask("our login", log_in))

    def _renewed(self) -> bool:
        """Whether the token's life was prolonged; a Vault that does not answer is told by the question that follows."""
        try:
            self._take(self._ask("our token's renewal", self._vault.auth.token.renew_self))
        except SecretDenied:
            return False
        except (SecretStoreSealed, SecretStoreUnreachable):
            return True
        return True

    def _take(self, said: Any) -> None:
        try:
            auth = _Login.model_validate(said).auth
        except ValidationError:
            self._forget()
            raise _nonsense() from None
        self._vault.token = auth.client_token.get_secret_value()
        self._lasts(auth.lease_duration or _NEVER, renewable=auth.renewable)

    def _lasts(self, seconds: float, *, renewable: bool) -> None:
        now = self._clock()
        self._expires_at = now + seconds
        self._renew_at = now + seconds / 2 if renewable else self._expires_at

    def _forget(self) -> None:
        self._vault.token = ""
        self._renew_at = self._expires_at = -_NEVER

    def _ask(self, what: str, call: Callable[[], Any]) -> Any:
        """What Vault answers. Its words stay out of errors, and so do hvac's: they hold addresses and may hold values."""
        try:
            return call()
        except hvac.exceptions.InvalidPath:
            raise SecretMissing(f"Vault does not have {what}; put it into {self._access.kv_mount}/, or check its name.") from None
        except (hvac.exceptions.Forbidden, hvac.exceptions.Unauthorized, hvac.exceptions.InvalidRequest):
            raise SecretDenied(f"Vault refused {what}; check the policy and the login of this process.") from None
        except (hvac.exceptions.VaultDown, hvac.exceptions.VaultNotInitialized):
            raise SecretStoreSealed("Vault is sealed; unseal it with `vault operator unseal`.") from None
        except (hvac.exceptions.VaultError, requests.RequestException, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SecretStoreUnreachable(
                f"Vault does not answer as it should ({type(error).__name__}); see that it runs and that VAULT_ADDR is right."
            ) from None


def _content(path: Path | None) -> str:
    try:
        content = path.read_text().strip() if path else ""
    except (OSError, UnicodeDecodeError):
        content = ""
    if not content:
        raise SecretDenied(f"The file {path} with what we log in to Vault with cannot be read; put it there.")
    return content


def _nonsense() -> SecretStoreUnreachable:
    return SecretStoreUnreachable("Vault answered a login with nonsense; see that VAULT_ADDR is Vault.")
