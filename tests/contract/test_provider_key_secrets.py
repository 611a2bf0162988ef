"""A provider's key from a store of secrets: a new version counts with the next call, and without a key nothing is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from contract.provider_cases import asking
from fakes.openai_server import FakeOpenAI
from fakes.vault_server import ROOT_TOKEN, FakeVault
from pydantic import SecretStr, ValidationError

from domain.catalogue import Catalogue, ProviderConfig, ProviderKind
from domain.errors import DependencyUnavailable, ModelKeyRefused, ModelOverloaded
from domain.models import Completion
from domain.ports.models import ModelProvider
from runtime.settings import Settings
from workers.models import open_providers
from workers.secrets import file_secrets, open_secrets

NAME = "models/house"


@pytest.fixture
async def vendor() -> AsyncIterator[FakeOpenAI]:
    async with FakeOpenAI(api_key="sk-1") as vendor:
        yield vendor


@pytest.fixture
async def exits() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as exits:
        yield exits


def house(vendor: FakeOpenAI, exits: AsyncExitStack, **settings: Any) -> ModelProvider:
    """The provider as a worker opens it."""
    config = ProviderConfig(kind=ProviderKind.OPENAI, base_url=vendor.url, api_key_secret=NAME)
    return open_providers(Settings(**settings), Catalogue(providers={"house": config}), exits)["house"]


async def test_a_key_in_the_file_changes_without_a_restart(vendor: FakeOpenAI, exits: AsyncExitStack, tmp_path: Path) -> None:
    store = file_secrets(Settings(soma_home=tmp_path))
    provider = house(vendor, exits, soma_home=tmp_path)
    assert (provider.name, provider.vendor, provider.external) == ("house", "openai_compatible", True)
    with pytest.raises(ModelKeyRefused, match="soma secret set models/house"):
        await provider.complete("m", asking())
    assert vendor.calls == []
    store.set(NAME, "sk-1")
    assert (await provider.complete("m", asking())).text
    vendor.api_key = "sk-2"
    with pytest.raises(ModelKeyRefused):
        await provider.complete("m", asking())
    store.set(NAME, "sk-2")
    assert (await provider.complete("m", asking())).text
    assert isinstance([item async for item in provider.stream("m", asking())][-1], Completion)
    store.delete(NAME)
    asked = len(vendor.calls)
    with pytest.raises(ModelKeyRefused):
        await provider.complete("m", asking())
    assert len(vendor.calls) == asked


async def test_a_call_ends_with_the_key_it_began_with(vendor: FakeOpenAI, exits: AsyncExitStack, tmp_path: Path) -> None:
    store = file_secrets(Settings(soma_home=tmp_path))
    store.set(NAME, "sk-1")
    provider = house(vendor, exits, soma_home=tmp_path)
    with vendor.held():
        begun = asyncio.create_task(provider.complete("m", asking()))
        await vendor.arrived()
        store.set(NAME, "sk-2")
        vendor.api_key = "sk-2"
        later = asyncio.create_task(provider.complete("m", asking()))
        await vendor.arrived(2)
    assert [(await call).text != "" for call in (begun, later)] == [True, True]
    assert [call.authorization for call in vendor.calls] == ["Bearer sk-1", "Bearer sk-2"]


async def test_a_vault_that_is_sealed_is_a_reason_to_try_again(vendor: FakeOpenAI, exits: AsyncExitStack) -> None:
    async with FakeVault() as vault:
        vault.put(NAME, "sk-1")
        provider = house(
            vendor,
            exits,
            secrets_store="vault",
            vault_addr=vault.base,
            vault_token=SecretStr(ROOT_TOKEN),
            secrets_refresh_seconds=0.001,
            secrets_stale_seconds=0,
        )
        assert (await provider.complete("m", asking())).text
        vault.put(NAME, "sk-2")
        vendor.api_key = "sk-2"
        assert (await provider.complete("m", asking())).text
        vault.mode = "sealed"
        with pytest.raises(ModelOverloaded, match="sealed"):
            await provider.complete("m", asking())
    assert len(vendor.calls) == 2


async def test_a_key_that_no_header_can_carry_is_not_shown(vendor: FakeOpenAI, exits: AsyncExitStack, tmp_path: Path) -> None:
    file_secrets(Settings(soma_home=tmp_path)).set(NAME, "sk-geheim\u00e9")
    with pytest.raises(ModelKeyRefused) as caught:
        await house(vendor, exits, soma_home=tmp_path).complete("m", asking())
    assert "geheim" not in str(caught.value)


def test_a_key_is_named_once_and_by_a_name() -> None:
    for named in ({"api_key_secret": NAME, "api_key_env": "X"}, {"api_key_secret": "../x"}):
        with pytest.raises(ValidationError):
            ProviderConfig.model_validate({"kind": "openai"} | named)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "VAULT_ADDR"),
        ({"vault_addr": "vault:8200"}, "VAULT_ADDR"),
        ({"vault_addr": "https://vault:8200"}, "VAULT_TOKEN"),
        ({"vault_addr": "https://vault:8200", "vault_auth": "approle"}, "VAULT_ROLE"),
    ],
)
def test_settings_that_cannot_work_are_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(DependencyUnavailable, match=said):
        open_secrets(Settings(secrets_store="vault", **given))
