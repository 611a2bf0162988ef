"""MODELS_FILE and what it means: roles by tenant and mode, and which models fit a call."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import ValidationError

from adapters.models_file import read_catalogue
from adapters.prices import GenaiPrices
from adapters.providers.registry import open_provider, read_key
from domain.catalogue import Catalogue, ProviderKind
from domain.errors import DependencyUnavailable, UnknownModel, UnsupportedByModel
from domain.fitness import Wanted, judged, profile, require_fit
from domain.models import Candidate, Capability
from domain.prices import Price, cost
from domain.routing import Unfit

FILE = """
[providers.openai]
kind = "openai"
api_key_env = "OPENAI_API_KEY"
region = "us"

[providers.house]
kind = "openai"
base_url = "http://127.0.0.1:8000/v1"
region = "eu"

[[models]]
provider = "openai"
name = "gpt-5-mini"
context_tokens = 400000
capabilities = ["stream", "tools", "json_schema", "images"]

[[models]]
provider = "house"
name = "small"
context_tokens = 8000
price = { input_micros = 100000, output_micros = 200000, currency = "EUR" }

[roles.dialogue_reasoning]
models = ["openai/gpt-5-mini", "house/small"]

[tenants.acme]
weight = 3.0
[tenants.acme.roles.dialogue_reasoning]
models = ["house/small"]
residency = ["eu"]

[modes.test.roles.dialogue_reasoning]
models = ["house/small"]
"""


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    path = tmp_path / "models.toml"
    path.write_text(FILE)
    return read_catalogue(path)


def test_the_most_special_profile_wins(catalogue: Catalogue) -> None:
    assert catalogue.role("dialogue_reasoning", "other", "production").models[0] == "openai/gpt-5-mini"
    assert catalogue.role("dialogue_reasoning", "other", "test").models == ("house/small",)
    assert catalogue.role("dialogue_reasoning", "acme", "production").residency == ("eu",)
    assert (catalogue.weight("acme"), catalogue.weight("other")) == (3.0, 1.0)
    with pytest.raises(UnknownModel):
        catalogue.role("nobody", "acme", "production")


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ('models = ["openai/gpt-5-mini", "house/small"]', "role dialogue_reasoning names openai/other"),
        ('provider = "house"\nname', "model small names provider nobody"),
        ('kind = "openai"\nbase_url', "providers.house.kind"),
        ("[providers.openai]", "not TOML"),
    ],
)
def test_a_wrong_file_says_where(tmp_path: Path, wrong: str, said: str) -> None:
    instead = {
        'models = ["openai/gpt-5-mini", "house/small"]': 'models = ["openai/other"]',
        'provider = "house"\nname': 'provider = "nobody"\nname',
        'kind = "openai"\nbase_url': 'kind = "telepathy"\nbase_url',
        "[providers.openai]": "[providers.openai",
    }
    path = tmp_path / "models.toml"
    path.write_text(FILE.replace(wrong, instead[wrong], 1))
    with pytest.raises(DependencyUnavailable, match=said):
        read_catalogue(path)
    with pytest.raises(DependencyUnavailable, match="cannot be read"):
        read_catalogue(tmp_path / "absent.toml")


def test_models_are_ruled_out_by_what_they_lack(catalogue: Catalogue) -> None:
    prices = GenaiPrices(catalogue)
    config = catalogue.role("dialogue_reasoning", "other", "production")

    def unfit(wanted: Wanted, **changes: object) -> list[Unfit | None]:
        return [found.unfit for found in judged(catalogue, config.model_copy(update=changes), prices, wanted)]

    plain = Wanted(frozenset(), 100)
    assert unfit(plain) == [None, None]
    assert unfit(Wanted(frozenset({Capability.TOOLS}), 100)) == [None, Unfit.CAPABILITY]
    assert unfit(Wanted(frozenset(), 9_000)) == [None, Unfit.CONTEXT]
    assert unfit(plain, residency=("eu",)) == [Unfit.RESIDENCY, None]
    cheap = Price(input_micros=200_000, output_micros=200_000, currency="EUR")
    assert unfit(plain, max_price=cheap) == [Unfit.PRICE, None]
    nothing = Wanted(frozenset({Capability.EMBEDDINGS}), 1)
    with pytest.raises(UnsupportedByModel, match="embeddings"):
        require_fit(judged(catalogue, config, prices, nothing), nothing)


def test_a_pinned_model_stands_alone(catalogue: Catalogue) -> None:
    pinned = profile(catalogue, "dialogue_reasoning", Candidate(provider="house", model="small"), "other", "production")
    assert pinned.models == ("house/small",)
    with pytest.raises(UnknownModel):
        profile(catalogue, "dialogue_reasoning", Candidate(provider="house", model="large"), "other", "production")


def test_prices_are_the_tables_or_the_files_and_say_which(catalogue: Catalogue) -> None:
    prices = GenaiPrices(catalogue)
    listed = prices.find(Candidate(provider="openai", model="gpt-5-mini"), 1_000)
    own = prices.find(Candidate(provider="house", model="small"), 1_000)
    assert listed is not None
    assert own is not None
    assert (listed.price.input_micros, listed.price.output_micros, listed.price.currency) == (250_000, 2_000_000, "USD")
    assert (own.price.input_micros, own.price.currency) == (100_000, "EUR")
    assert listed.snapshot == own.snapshot
    assert GenaiPrices(Catalogue()).find(Candidate(provider="openai", model="gpt-5-mini"), 1).snapshot != own.snapshot
    assert prices.find(Candidate(provider="house", model="unheard-of"), 1) is None
    assert cost(listed.price, 1, 0) == 1, "rounded up, never to nothing"


def test_a_duplicate_model_is_refused() -> None:
    with pytest.raises(ValidationError, match="twice"):
        Catalogue.model_validate(
            {
                "providers": {"p": {"kind": "openai"}},
                "models": [{"provider": "p", "name": "m"}, {"provider": "p", "name": "m"}],
            }
        )


PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
EXAMPLES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=[example.splitlines()[0] for example in EXAMPLES])
async def test_each_example_of_the_documentation_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, example: str) -> None:
    key = tmp_path / "key"
    key.write_text("sk-1")
    path = tmp_path / "models.toml"
    path.write_text(example.replace("/run/secrets/azure_openai_key", str(key)))
    catalogue = read_catalogue(path)
    assert catalogue.roles["dialogue_reasoning"].models
    prices = GenaiPrices(catalogue)
    for model in catalogue.models:
        assert prices.find(model.candidate, 1_000) is not None, model
    for name, config in catalogue.providers.items():
        if config.api_key_env is not None:
            monkeypatch.setenv(config.api_key_env, "sk-1")
        provider = open_provider(name, config, read_key(config))
        await provider.close()


def test_the_documentation_has_an_example_of_each_vendor_and_one_of_everything(tmp_path: Path) -> None:
    kinds = {kind for example in EXAMPLES for kind in re.findall(r'kind = "(\w+)"', example)}
    assert kinds == {kind.value for kind in ProviderKind} - {ProviderKind.EMBEDDED.value}
    path = tmp_path / "models.toml"
    path.write_text(EXAMPLES[-1])
    catalogue = read_catalogue(path)
    assert len(catalogue.role("dialogue_reasoning", "anyone", "production").models) == 3
    assert catalogue.role("dialogue_reasoning", "acme", "production").residency == ("eu",)
