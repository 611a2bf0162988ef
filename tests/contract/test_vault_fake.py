"""The fake Vault, held against hvac, the official client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import hvac
import hvac.exceptions
import pytest
from fakes.vault_server import ROOT_TOKEN, FakeVault


@pytest.fixture
async def vault() -> AsyncIterator[FakeVault]:
    async with FakeVault() as vault:
        yield vault


def client(vault: FakeVault, token: str = ROOT_TOKEN) -> Any:
    return hvac.Client(url=vault.base, token=token, strict_http=True)


async def test_secrets_are_written_read_listed_and_deleted(vault: FakeVault) -> None:
    def use() -> None:
        kv = client(vault).secrets.kv.v2
        made = [
            kv.create_or_update_secret("models/a", {"value": value}, mount_point="somagent")["data"]["version"] for value in "xy"
        ]
        assert made == [1, 2]
        read = kv.read_secret_version("models/a", mount_point="somagent", raise_on_deleted_version=True)
        assert (read["data"]["data"], read["data"]["metadata"]["version"]) == ({"value": "y"}, 2)
        assert kv.read_secret_metadata("models/a", mount_point="somagent")["data"]["current_version"] == 2
        assert kv.list_secrets("models", mount_point="somagent")["data"]["keys"] == ["a"]
        kv.delete_latest_version_of_secret("models/a", mount_point="somagent")
        with pytest.raises(hvac.exceptions.InvalidPath):
            kv.read_secret_version("models/a", mount_point="somagent", raise_on_deleted_version=True)
        kv.delete_metadata_and_all_versions("models/a", mount_point="somagent")
        with pytest.raises(hvac.exceptions.InvalidPath):
            kv.read_secret_metadata("models/a", mount_point="somagent")

    await asyncio.to_thread(use)


async def test_logins_renewals_and_ends_of_tokens(vault: FakeVault) -> None:
    def use() -> None:
        roles = client(vault, "")
        assert roles.auth.approle.login("gateway-role", "secret-id-1")["auth"]["lease_duration"] == 3600
        vault.now = 1800
        assert roles.auth.token.lookup_self()["data"]["ttl"] == 1800
        roles.auth.token.renew_self()
        assert roles.auth.token.lookup_self()["data"]["ttl"] == 3600
        assert roles.is_authenticated()
        vault.now = 6000
        assert not roles.is_authenticated()
        roles.auth.kubernetes.login("worker", "service.account.jwt")
        assert roles.is_authenticated()
        with pytest.raises(hvac.exceptions.InvalidRequest):
            roles.auth.approle.login("gateway-role", "wrong")
        with pytest.raises(hvac.exceptions.Forbidden):
            roles.secrets.kv.v2.read_secret_version("other", mount_point="somagent", raise_on_deleted_version=True)

    await asyncio.to_thread(use)


async def test_a_sealed_one_says_so(vault: FakeVault) -> None:
    def use() -> None:
        assert not client(vault).sys.is_sealed()
        vault.mode = "sealed"
        assert client(vault).sys.is_sealed()
        assert client(vault).sys.read_health_status().status_code == 503
        with pytest.raises(hvac.exceptions.VaultDown):
            client(vault).secrets.kv.v2.read_secret_version("models/a", mount_point="somagent", raise_on_deleted_version=True)

    await asyncio.to_thread(use)
