"""From MODELS_FILE to an adapter: keys are found where they are named, and what is wrong is said without showing them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from adapters.providers.registry import open_provider, read_key
from domain.catalogue import ProviderConfig, ProviderKind
from domain.errors import DependencyUnavailable


def test_a_key_is_read_from_where_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE_KEY", " sk-1 ")
    path = tmp_path / "key"
    path.write_text("sk-2\n")
    kind = ProviderKind.OPENAI
    assert read_key(ProviderConfig(kind=kind, api_key_env="HOUSE_KEY")) == "sk-1"
    assert read_key(ProviderConfig(kind=kind, api_key_file=str(path))) == "sk-2"
    assert read_key(ProviderConfig(kind=kind)) is None


@pytest.mark.parametrize("named", ["absent", "empty", "binary"])
def test_a_key_that_is_not_there_is_told_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "binary").write_bytes(b"sk-\xff")
    with pytest.raises(DependencyUnavailable, match=named) as caught:
        read_key(ProviderConfig(kind=ProviderKind.OPENAI, api_key_file=str(tmp_path / named)))
    assert "sk-" not in str(caught.value)
    monkeypatch.setenv("HOUSE_KEY", " ")
    with pytest.raises(DependencyUnavailable, match="HOUSE_KEY"):
        read_key(ProviderConfig(kind=ProviderKind.OPENAI, api_key_env="HOUSE_KEY"))


@pytest.mark.parametrize("kind", ProviderKind)
async def test_every_kind_has_an_adapter(kind: ProviderKind) -> None:
    provider = open_provider("house", ProviderConfig(kind=kind, base_url="http://127.0.0.1:1"), "k")
    assert (provider.name, provider.external) == ("house", kind is not ProviderKind.EMBEDDED)
    assert provider.vendor
    await provider.close()


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (ProviderConfig(kind=ProviderKind.AZURE_OPENAI), "base_url of provider house"),
        (ProviderConfig(kind=ProviderKind.GEMINI, base_url="generativelanguage.googleapis.com"), "base_url of provider house"),
        (ProviderConfig(kind=ProviderKind.ANTHROPIC, api_version="2026\n10"), "api_version of provider house"),
        (
            ProviderConfig(kind=ProviderKind.AZURE_OPENAI, base_url="http://x", api_version="1&x=2"),
            "api_version of provider house",
        ),
    ],
)
def test_a_provider_that_cannot_be_made_says_why(config: ProviderConfig, said: str) -> None:
    with pytest.raises(DependencyUnavailable, match=said):
        open_provider("house", config, "k")


def test_adapters_of_what_is_not_configured_and_vendors_clients_are_not_loaded() -> None:
    code = (
        "import sys, adapters.providers.registry as r\n"
        "from domain.catalogue import ProviderConfig, ProviderKind\n"
        "r.open_provider('soma', ProviderConfig(kind=ProviderKind.EMBEDDED), None)\n"
        "print(sorted({'httpx2', 'openai', 'anthropic', 'google'} & {name.split('.')[0] for name in sys.modules}))\n"
        "for kind in ProviderKind:\n"
        "    r.open_provider('p', ProviderConfig(kind=kind, base_url='http://h'), None)\n"
        "print(sorted({'openai', 'anthropic', 'google'} & {name.split('.')[0] for name in sys.modules}))\n"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.split("\n")[:2] == ["[]", "[]"]
