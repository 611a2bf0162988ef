"""Secrets from Vault: what it says counts, and while it says nothing a known secret goes on to a bound and no further."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from fakes.vault_server import ROOT_TOKEN, FakeVault, Mode, Token
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from structlog.testing import capture_logs

from adapters.secrets.vault import PAUSE_SECONDS, VaultSecrets
from adapters.secrets.vault_client import VaultAccess
from domain.errors import (
    InvalidRequest,
    SecretDenied,
    SecretMissing,
    SecretStoreSealed,
    SecretStoreUnreachable,
    SecretUnavailable,
)

NAME = "models/openai"
REFRESH, STALE = 5.0, 60.0
SILENT: dict[Mode, type[SecretUnavailable]] = {
    "sealed": SecretStoreSealed,
    "error": SecretStoreUnreachable,
    "limited": SecretStoreUnreachable,
    "late": SecretStoreUnreachable,
    "no_json": SecretStoreUnreachable,
    "wrong_json": SecretStoreUnreachable,
    "redirect": SecretStoreUnreachable,
}


@dataclass
class House:
    """A Vault, and stores that read it by the same clock."""

    vault: FakeVault
    directory: Path
    opened: list[VaultSecrets] = field(default_factory=list)

    def store(self, seconds: float = 3.0, **access: Any) -> VaultSecrets:
        known: dict[str, Any] = {"address": self.vault.base, "token": SecretStr(ROOT_TOKEN)} | access
        store = VaultSecrets(
            VaultAccess(**known), refresh_seconds=REFRESH, stale_seconds=STALE, seconds=seconds, clock=lambda: self.vault.now
        )
        self.opened.append(store)
        return store

    def approle(self, secret_id: str) -> VaultSecrets:
        path = self.directory / "secret-id"
        path.write_text(secret_id + "\n")
        return self.store(auth="approle", token=None, role="gateway-role", credential_file=path)

    def count(self, part: str) -> int:
        return sum(part in line for line in self.vault.seen)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with FakeVault() as vault:
        vault.put(NAME, "sk-1")
        house = House(vault, tmp_path)
        yield house
        vault.mode = "ok"
        for store in house.opened:
            await store.aclose()


async def value(store: VaultSecrets, name: str = NAME) -> tuple[str, str]:
    secret = await store.read(name)
    assert "sk-" not in repr(secret)
    return secret.value.get_secret_value(), secret.version


async def test_a_new_version_counts_once_the_former_is_old_enough(house: House) -> None:
    store = house.store()
    assert await value(store) == ("sk-1", "1")
    house.vault.put(NAME, "sk-2")
    house.vault.now = REFRESH - 0.1
    assert await value(store) == ("sk-1", "1")
    house.vault.now = REFRESH
    for _ in range(2):
        assert await value(store) == ("sk-2", "2")
    assert house.count(f"data/{NAME}") == 2


@pytest.mark.parametrize("mode", SILENT)
async def test_without_an_answer_a_known_secret_goes_on_to_its_bound(house: House, mode: Mode) -> None:
    store = house.store(seconds=0.3)
    assert await value(store) == ("sk-1", "1")
    house.vault.put(NAME, "sk-2")
    house.vault.mode = mode
    house.vault.now = STALE - 0.1
    with capture_logs() as logs:
        assert await value(store) == ("sk-1", "1")
    assert [entry["error"] for entry in logs] == [SILENT[mode].type]
    house.vault.now = STALE
    with pytest.raises(SILENT[mode]) as caught:
        await store.read(NAME)
    assert "s3cret" not in str(caught.value) + str(logs)
    house.vault.mode = "ok"
    house.vault.now += PAUSE_SECONDS
    assert await value(store) == ("sk-2", "2")


@pytest.mark.parametrize("mode", SILENT)
async def test_without_an_answer_and_nothing_known_it_says_what_is_wrong(house: House, mode: Mode) -> None:
    house.vault.mode = mode
    with pytest.raises(SILENT[mode]) as caught:
        await house.store(seconds=0.3).read(NAME)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_process_that_is_dead_is_bridged_and_then_refused(house: House) -> None:
    store = house.store()
    assert await value(store) == ("sk-1", "1")
    house.vault.stop()
    house.vault.now = STALE - 0.1
    assert await value(store) == ("sk-1", "1")
    house.vault.now = STALE
    with pytest.raises(SecretStoreUnreachable):
        await store.read(NAME)
    house.vault.start()


async def test_a_vault_that_gives_no_answer_is_not_asked_with_every_call(house: House) -> None:
    store = house.store()
    house.vault.mode = "sealed"
    for _ in range(3):
        with pytest.raises(SecretStoreSealed):
            await store.read(NAME)
    assert len(house.vault.seen) == 1
    house.vault.mode, house.vault.now = "ok", PAUSE_SECONDS
    assert await value(store) == ("sk-1", "1")


async def test_a_no_counts_at_once(house: House) -> None:
    store = house.store()
    assert await value(store) == ("sk-1", "1")
    house.vault.tokens[ROOT_TOKEN] = Token(prefixes=("other/",))
    house.vault.now = REFRESH
    with pytest.raises(SecretDenied):
        await store.read(NAME)
    # What it said before is forgotten: not even a Vault that is then away brings it back.
    house.vault.mode = "sealed"
    with pytest.raises(SecretStoreSealed):
        await store.read(NAME)
    house.vault.mode, house.vault.tokens[ROOT_TOKEN] = "ok", Token()
    house.vault.now += PAUSE_SECONDS
    assert await value(store) == ("sk-1", "1")
    house.vault.entries[NAME].versions[-1] = None
    house.vault.now += REFRESH
    with pytest.raises(SecretMissing):
        await store.read(NAME)


async def test_a_lease_ends_a_secret_before_the_bound(house: House) -> None:
    house.vault.lease = 20
    store = house.store()
    assert await value(store) == ("sk-1", "1")
    house.vault.mode = "sealed"
    house.vault.now = 19.9
    assert await value(store) == ("sk-1", "1")
    house.vault.now = 20.9
    with pytest.raises(SecretStoreSealed):
        await store.read(NAME)


@pytest.mark.parametrize(("stored", "named"), [({"other": "sk-1"}, "value"), ({"value": ""}, "value"), ({"value": 7}, "value")])
async def test_a_secret_without_its_text_is_missing(house: House, stored: dict[str, Any], named: str) -> None:
    house.vault.entries[NAME].versions.append(stored)
    with pytest.raises(SecretMissing, match=named):
        await house.store().read(NAME)


async def test_approle_logs_in_renews_and_logs_in_again(house: House) -> None:
    store = house.approle("secret-id-1")
    assert await value(store) == ("sk-1", "1")
    assert (house.count("approle/login"), house.count("renew-self")) == (1, 0)
    house.vault.now = 1800
    assert await value(store) == ("sk-1", "1")
    assert (house.count("approle/login"), house.count("renew-self")) == (1, 1)
    # Long after its end there is nothing to renew.
    house.vault.now = 1800 + 3600
    assert await value(store) == ("sk-1", "1")
    assert (house.count("approle/login"), house.count("renew-self")) == (2, 1)
    # Revoked before its end.
    for token in list(house.vault.tokens):
        if token != ROOT_TOKEN:
            del house.vault.tokens[token]
    house.vault.now += REFRESH
    assert await value(store) == ("sk-1", "1")
    assert house.count("approle/login") == 3


async def test_a_login_that_is_refused_says_so(house: House) -> None:
    with pytest.raises(SecretDenied) as caught:
        await house.approle("wrong-id").read(NAME)
    assert "wrong-id" not in str(caught.value)
    missing = house.store(auth="approle", token=None, role="gateway-role", credential_file=house.directory / "none")
    with pytest.raises(SecretDenied, match="none"):
        await missing.read(NAME)
    with pytest.raises(SecretDenied):
        await house.store(token=SecretStr("hvs.unknown")).read(NAME)


async def test_kubernetes_logs_in_with_the_service_account(house: House) -> None:
    path = house.directory / "token"
    path.write_text("service.account.jwt")
    store = house.store(auth="kubernetes", token=None, role="worker", credential_file=path)
    assert await value(store) == ("sk-1", "1")
    house.vault.put("identity/signing", "sk-3")
    with pytest.raises(SecretDenied):
        await store.read("identity/signing")


async def test_a_token_of_the_settings_is_renewed_while_it_can_be(house: House) -> None:
    house.vault.tokens["hvs.mine"] = Token(ttl=100, renewable=True, expires_at=100)
    store = house.store(token=SecretStr("hvs.mine"))
    for now in (0.0, 60.0, 120.0, 180.0):
        house.vault.now = now
        assert await value(store) == ("sk-1", "1")
    assert house.count("renew-self") == 3
    house.vault.now = 500.0
    with pytest.raises(SecretDenied):
        await store.read(NAME)


@settings(max_examples=60)
@given(st.text(max_size=40).filter(lambda text: not set(text) <= set("abcdefghijklmnopqrstuvwxyz0123456789-_/")))
async def test_no_other_name_reaches_vault(name: str) -> None:
    store = VaultSecrets(VaultAccess(address="http://127.0.0.1:1"), refresh_seconds=1, stale_seconds=1)
    with pytest.raises(InvalidRequest):
        await store.read(name)
    await store.aclose()


@pytest.mark.parametrize("name", ["../x", "a//b", "/a", "a/", "", "a" * 121, "a/../b", "A"])
async def test_paths_are_no_names(name: str) -> None:
    store = VaultSecrets(VaultAccess(address="http://127.0.0.1:1"), refresh_seconds=1, stale_seconds=1)
    with pytest.raises(InvalidRequest):
        await store.read(name)
    await store.aclose()
