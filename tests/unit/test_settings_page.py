"""Settings are read from the environment as docs/configuration.md says, and that page is the one `make docs` writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from runtime.settings import Settings
from runtime.settings_doc import render

PAGE = Path(__file__).parents[2] / "docs/configuration.md"


def test_the_page_is_what_the_settings_say() -> None:
    assert PAGE.read_text() == render(), "docs/configuration.md is out of date: run `make docs`"


def test_the_page_names_each_setting_with_its_bounds_and_default() -> None:
    rows = [line for line in render().splitlines() if line.startswith("| `")]
    for name, field in Settings.model_fields.items():
        row = next(line for line in rows if line.startswith(f"| `{name.upper()}` |"))
        assert field.description
        assert row.replace(r"\|", "|").endswith(f"| {field.description} |")
    assert any(row.startswith("| `DATABASE_POOL_SIZE` | integer, ≥ 1, ≤ 200 | `10` |") for row in rows)
    assert any(row.startswith("| `MODEL_API_KEY` | secret text |  |") for row in rows)


def test_variables_are_read_and_empty_ones_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_CONFIG", "security.protocol=SASL_SSL, sasl.password=a=b")
    monkeypatch.setenv("GATEWAY_PORT", "9000")
    monkeypatch.setenv("MODEL_BASE_URL", "")
    settings = Settings()
    assert settings.kafka_config == {"security.protocol": "SASL_SSL", "sasl.password": "a=b"}
    assert settings.gateway_port == 9000
    assert settings.model_base_url is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("KAFKA_CONFIG", "security.protocol"), ("GATEWAY_PORT", "0"), ("REGION", "Europe West"), ("LOG_LEVEL", "LOUD")],
)
def test_a_variable_that_cannot_be_read_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert [error["loc"] for error in caught.value.errors()] == [(name.lower(),)]


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://someone:geheim@127.0.0.1/db")
    monkeypatch.setenv("KAFKA_CONFIG", "sasl.password=geheim")
    assert "geheim" not in repr(Settings())
    monkeypatch.setenv("KAFKA_CONFIG", "geheim")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "geheim" not in str(caught.value)
