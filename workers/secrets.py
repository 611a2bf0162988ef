"""The store of secrets that the settings choose. Adapters of the others are not loaded."""

from __future__ import annotations

from urllib.parse import urlsplit

from adapters.secrets.encrypted_file import EncryptedFileSecrets
from domain.errors import DependencyUnavailable
from domain.ports.secrets import Secrets
from runtime.settings import Settings


def file_secrets(settings: Settings) -> EncryptedFileSecrets:
    """The encrypted file; it is made with its first secret."""
    # Among the keys, which a backup holds.
    keys = settings.soma_home / "keys"
    return EncryptedFileSecrets(settings.secrets_file or keys / "secrets.json", settings.secrets_key_file or keys / "secrets.key")


def open_secrets(settings: Settings) -> Secrets:
    """The store, to be closed by the caller. Raises DependencyUnavailable for settings it cannot work with."""
    match settings.secrets_store:
        case "file":
            return file_secrets(settings)
        case "env":
            from adapters.secrets.environment import EnvironmentSecrets

            return EnvironmentSecrets()
        case "vault":
            return _vault(settings)


def _vault(settings: Settings) -> Secrets:
    from adapters.secrets.vault import VaultSecrets
    from adapters.secrets.vault_client import VaultAccess

    parts = urlsplit(settings.vault_addr or "")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DependencyUnavailable("VAULT_ADDR must be Vault's http or https address, such as https://vault:8200.")
    if settings.vault_auth == "token" and settings.vault_token is None:
        raise DependencyUnavailable("VAULT_TOKEN is not set; set it, or another VAULT_AUTH.")
    if settings.vault_auth != "token" and not settings.vault_role:
        raise DependencyUnavailable("VAULT_ROLE is not set; it is the role this process logs in to Vault with.")
    kubernetes = settings.vault_auth == "kubernetes"
    access = VaultAccess(
        address=(settings.vault_addr or "").rstrip("/"),
        namespace=settings.vault_namespace,
        ca_file=settings.vault_cacert,
        auth=settings.vault_auth,
        token=settings.vault_token,
        role=settings.vault_role,
        credential_file=settings.vault_kubernetes_token_file if kubernetes else settings.vault_secret_id_file,
        auth_mount=settings.vault_auth_mount,
        kv_mount=settings.vault_kv_mount,
    )
    return VaultSecrets(access, refresh_seconds=settings.secrets_refresh_seconds, stale_seconds=settings.secrets_stale_seconds)
