"""Settings of every process, read from the environment.

Any part of the stack is replaced by an address here; nothing is chosen by code. Temporal's address, namespace, TLS and
API key are not repeated: they are read by the SDK's own profiles (`temporalio.envconfig`: TEMPORAL_ADDRESS,
TEMPORAL_NAMESPACE, TEMPORAL_API_KEY, TEMPORAL_PROFILE, TEMPORAL_CONFIG_FILE, TEMPORAL_TLS_…).
`docs/configuration.md` is generated from this class.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

Port = Annotated[int, Field(ge=1, le=65535)]


class Settings(BaseSettings):
    """Every setting, its default and its meaning. Field `gateway_port` is read from `GATEWAY_PORT`, and so on."""

    # A value that cannot be read may hold a password, so errors do not show it.
    model_config = SettingsConfigDict(
        env_file=None, extra="ignore", frozen=True, env_ignore_empty=True, hide_input_in_errors=True
    )

    soma_home: Path = Field(default=Path(".soma"), description="Where the embedded stack keeps its data, keys and state.")
    log_level: str = Field(default="INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="Lowest level that is logged.")

    gateway_host: str = Field(default="127.0.0.1", description="Address the gateway listens on.")
    gateway_port: Port = Field(default=8080, description="Port the gateway listens on.")
    gateway_tls_cert_file: Path | None = Field(
        default=None,
        description="The gateway's certificate and those between it and its authority (PEM): it speaks TLS. Read again when it "
        "changes.",
    )
    gateway_tls_key_file: Path | None = Field(default=None, description="The key of that certificate (PEM, no passphrase).")
    gateway_tls_client_ca_file: Path | None = Field(
        default=None, description="Authority of clients' certificates (PEM): without one of its own no client is served."
    )
    gateway_admin_port: Port = Field(default=8081, description="Port of the gateway's metrics, never exposed to clients.")
    worker_admin_port: Port = Field(default=8082, description="Port of a worker's metrics and health.")
    relay_admin_port: Port = Field(default=8083, description="Port of the relay's metrics and health.")
    admin_host: str = Field(default="127.0.0.1", description="Address the three ports above listen on.")
    public_url: str = Field(
        default="http://127.0.0.1:8080",
        description="Address clients reach the gateway under: issuer and links are made from it.",
    )
    temporal_ui_url: str = Field(
        default="", description="Temporal's web UI: links to it, and the origin its codec may be called from."
    )
    region: str = Field(default="local", pattern="^[a-z0-9-]{1,32}$", description="Region this process runs in.")

    database_url: SecretStr | None = Field(default=None, description="Postgres as the application role (gateway and workers).")
    database_migration_url: SecretStr | None = Field(
        default=None, description="Postgres as the owner of the schema (`soma migrate`)."
    )
    database_relay_url: SecretStr | None = Field(
        default=None, description="Postgres as the relay's role, which reads every tenant's outbox."
    )
    database_token_url: SecretStr | None = Field(
        default=None, description="Postgres as the token endpoint's role, which looks clients up."
    )
    database_pool_size: int = Field(default=10, ge=1, le=200, description="Connections a process keeps at most.")
    redis_url: SecretStr | None = Field(
        default=None, description="A Redis-protocol server; everything is right without it, if slower."
    )
    kafka_bootstrap_servers: str | None = Field(
        default=None, description="Kafka brokers, comma-separated; unset, events are served from the outbox alone."
    )
    kafka_config: Annotated[dict[str, str], NoDecode] = Field(
        default_factory=dict,
        repr=False,
        description="Further librdkafka settings, as `key=value` separated by commas (SASL, TLS).",
    )
    kafka_topic_partitions: int = Field(
        default=6,
        ge=0,
        le=1000,
        description="Partitions of a topic the relay makes because it is missing, where the brokers let it; 0 makes none.",
    )

    token_audience: str = Field(default="somagent", description="The `aud` every access token must carry.")
    token_lifetime_seconds: int = Field(default=900, ge=30, le=3600, description="Lifetime of an access token, in seconds.")
    signing_key_file: Path | None = Field(
        default=None, description="JWK set with the Ed25519 keys that sign tokens; the first signs. Read again when it changes."
    )
    login_key_file: Path | None = Field(
        default=None,
        description="Key ring that seals the TOTP seeds of users (JSON as CODEC_KEY_FILE); the first key seals. Unset, nobody "
        "can be activated or log in.",
    )
    codec_key_file: Path | None = Field(default=None, description="Key ring of the payload codec; the first key encrypts.")
    constitution_url: str | None = Field(
        default=None, description="Where the signed constitution is fetched; unset, it is read from the store."
    )
    constitution_trusted_keys_file: Path | None = Field(
        default=None, description="Public keys a constitution may be signed with."
    )
    statement_key_file: Path | None = Field(
        default=None,
        description="JWK set whose first private Ed25519 key signs what the platform states (`platform` workers).",
    )
    statement_trusted_keys_file: Path | None = Field(
        default=None, description="Public keys that verify those statements (`soma kill-switch verify`)."
    )
    constitution_refresh_seconds: int = Field(
        default=30, ge=1, le=3600, description="How often the constitution is asked for again, in seconds."
    )

    secrets_store: Literal["file", "env", "vault"] = Field(
        default="file",
        description="Where secrets are read by name (security.md): the encrypted file, variables `SECRET_…`, or Vault.",
    )
    secrets_file: Path | None = Field(
        default=None, description="The encrypted file of `soma secret`; `keys/secrets.json` in SOMA_HOME unless set."
    )
    secrets_key_file: Path | None = Field(
        default=None, description="Its key, mode 600; `keys/secrets.key` in SOMA_HOME unless set."
    )
    secrets_refresh_seconds: float = Field(
        default=5.0, gt=0, le=3600, description="A secret read from Vault is asked for again after this long, in seconds."
    )
    secrets_stale_seconds: float = Field(
        default=300.0,
        ge=0,
        le=86_400,
        description="While Vault does not answer, what it last confirmed is used for this long, in seconds.",
    )
    vault_addr: str | None = Field(default=None, description="Address of Vault, as its own tools read it.")
    vault_namespace: str | None = Field(default=None, description="Namespace of Vault, where it has them.")
    vault_cacert: Path | None = Field(default=None, description="Authority that Vault's certificate is verified with.")
    vault_auth: Literal["token", "approle", "kubernetes"] = Field(default="token", description="How we log in to Vault.")
    vault_token: SecretStr | None = Field(default=None, description="The token of VAULT_AUTH=token.")
    vault_role: str | None = Field(default=None, description="Role id (AppRole) or role (Kubernetes) we log in with.")
    vault_secret_id_file: Path | None = Field(default=None, description="File with the secret id of AppRole, read at each login.")
    vault_kubernetes_token_file: Path = Field(
        default=Path("/var/run/secrets/kubernetes.io/serviceaccount/token"),
        description="File with the service account's token, read at each login.",
    )
    vault_auth_mount: str | None = Field(
        default=None, description="Where the auth method is mounted; `approle` or `kubernetes` unless set."
    )
    vault_kv_mount: str = Field(default="somagent", description="Where the key-value store (version 2) is mounted.")

    model_base_url: str | None = Field(
        default=None, description="An OpenAI-compatible endpoint, up to and with `/v1`; unset, `soma-extractive` answers."
    )
    model_api_key: SecretStr | None = Field(default=None, description="Bearer key of that endpoint.")
    model_name: str | None = Field(default=None, description="Model asked for there.")
    model_timeout_seconds: float = Field(default=60.0, gt=0, le=600, description="Longest wait for one model answer, in seconds.")
    models_file: Path | None = Field(
        default=None,
        description="Providers, models and roles (TOML, see models.md); unset, MODEL_BASE_URL or the embedded models answer.",
    )
    model_unknown_price: Literal["deny", "count_tokens"] = Field(
        default="deny",
        description="What a budget in money does where a model's price is not known: refuse it, or leave it to those in tokens.",
    )
    deployment_mode: str = Field(
        default="production",
        pattern="^[a-z][a-z0-9-]{0,31}$",
        description="Mode of this installation; MODELS_FILE may map roles to other models by it.",
    )
    tenant_model_requests_per_minute: int = Field(
        default=6000, ge=1, description="Model requests one tenant may make in a minute, whichever client sends them."
    )
    somabrain_url: str | None = Field(default=None, description="SomaBrain; unset, memory is Postgres full text.")
    somabrain_token: SecretStr | None = Field(default=None, description="Bearer token of SomaBrain.")
    somabrain_api_prefix: str = Field(default="/api", description="Path prefix of SomaBrain's API.")

    workflow_sandbox: bool = Field(
        default=False,
        description="Run workflows in the SDK's sandbox, which stops what is not deterministic, at twice a worker's CPU per "
        "session start. Tests and the replay of recorded histories always do.",
    )

    rate_limit_per_minute: int = Field(default=1200, ge=1, description="Requests one client may make in a minute.")
    session_idle_seconds: int = Field(
        default=86_400, ge=1, description="A session without a message closes itself after this long, in seconds."
    )
    approval_timeout_seconds: int = Field(
        default=86_400, ge=1, description="An escalated request is refused after this long, in seconds."
    )
    otel_exporter_otlp_endpoint: str | None = Field(default=None, description="OTLP/HTTP collector; unset, nothing is traced.")

    @field_validator("kafka_config", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        """`a=b,c=d` as a dictionary; only the first `=` of a pair separates. Raises ValueError for a pair without one."""
        if not isinstance(value, str):
            return value
        pairs = [pair.strip() for pair in value.split(",") if pair.strip()]
        if any("=" not in pair for pair in pairs):
            raise ValueError("write it as key=value pairs separated by commas, without a comma in a value")
        return dict(pair.split("=", 1) for pair in pairs)

    @model_validator(mode="after")
    def _whole_tls(self) -> Self:
        """A certificate has a key, and who checks clients speaks TLS. Raises ValueError."""
        if (self.gateway_tls_cert_file is None) != (self.gateway_tls_key_file is None):
            raise ValueError("GATEWAY_TLS_CERT_FILE and GATEWAY_TLS_KEY_FILE come together; set both or none")
        if self.gateway_tls_client_ca_file is not None and self.gateway_tls_cert_file is None:
            raise ValueError("GATEWAY_TLS_CLIENT_CA_FILE asks for TLS; set GATEWAY_TLS_CERT_FILE and GATEWAY_TLS_KEY_FILE, too")
        return self

    @property
    def run_dir(self) -> Path:
        """Where the supervisor writes its state and sockets."""
        return self.soma_home / "run"


@cache
def settings() -> Settings:
    """The process's settings, read once. Raises pydantic's ValidationError, which names the variable at fault."""
    return Settings()
