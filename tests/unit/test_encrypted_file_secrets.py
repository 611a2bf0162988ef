"""Secrets in an encrypted file and in the environment: what is stored is read, and nothing else is."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.secrets.encrypted_file import EncryptedFileSecrets
from adapters.secrets.environment import EnvironmentSecrets
from domain.errors import InvalidRequest, SecretDenied, SecretMissing, SecretStoreUnreachable


@pytest.fixture
def store(tmp_path: Path) -> EncryptedFileSecrets:
    return EncryptedFileSecrets(tmp_path / "secrets.json", tmp_path / "keys" / "secrets.key")


async def value(store: EncryptedFileSecrets, name: str) -> tuple[str, str]:
    secret = await store.read(name)
    return secret.value.get_secret_value(), secret.version


async def test_a_secret_is_read_in_its_last_version_and_gone_once_deleted(store: EncryptedFileSecrets, tmp_path: Path) -> None:
    assert store.set("models/openai", "sk-1") == 1
    assert await value(store, "models/openai") == ("sk-1", "1")
    assert store.set("models/openai", "sk-2") == 2
    assert await value(store, "models/openai") == ("sk-2", "2")
    assert store.names() == {"models/openai": 2}
    text = (tmp_path / "secrets.json").read_text()
    assert "sk-" not in text + repr(await store.read("models/openai"))
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "secrets.json", tmp_path / "keys/secrets.key")] == [0o600] * 2
    store.delete("models/openai")
    for gone in (store.delete, store._decrypted):
        with pytest.raises(SecretMissing, match="soma secret set models/openai"):
            gone("models/openai")
    # A version is never used twice: whoever holds one sees that there is another value.
    assert store.set("models/openai", "sk-3") == 3


async def test_what_was_changed_or_moved_does_not_open(store: EncryptedFileSecrets, tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    store.set("a", "one")
    store.set("b", "two")
    good = path.read_text()
    moved = json.loads(good)
    moved["secrets"]["a"] = moved["secrets"]["b"]
    older = json.loads(good)
    older["secrets"]["a"]["version"] = 7
    cut = json.loads(good)
    cut["secrets"]["a"]["sealed"] = "AAAA"
    for changed in (moved, older, cut):
        path.write_text(json.dumps(changed))
        with pytest.raises(SecretDenied, match="does not open"):
            await store.read("a")
    path.write_text("{")
    for act in (lambda: store.set("a", "x"), store.names):
        with pytest.raises(SecretStoreUnreachable):
            act()
    assert path.read_text() == "{"
    path.write_text(good)
    assert await value(store, "a") == ("one", "1")


async def test_a_key_that_others_may_read_or_that_is_none_is_refused(store: EncryptedFileSecrets, tmp_path: Path) -> None:
    store.set("a", "one")
    key = tmp_path / "keys" / "secrets.key"
    key.chmod(0o640)
    with pytest.raises(SecretDenied, match="chmod 600"):
        await store.read("a")
    key.chmod(0o600)
    for content in (b"", b"AAAA", b"\xff" * 44):
        key.write_bytes(content)
        with pytest.raises(SecretDenied, match="restore"):
            await store.read("a")
    key.unlink()
    # A second key beside what the first protects would make the mess complete.
    with pytest.raises(SecretDenied, match="restore"):
        store.set("b", "two")
    assert not key.exists()


@pytest.mark.parametrize("given_value", ["", "x" * 65_537])
def test_values_have_bounds(store: EncryptedFileSecrets, given_value: str) -> None:
    with pytest.raises(InvalidRequest):
        store.set("a", given_value)
    assert store.names() == {}


async def test_writers_at_once_lose_nothing(store: EncryptedFileSecrets) -> None:
    threads = [threading.Thread(target=store.set, args=(f"name-{number}", str(number))) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(store.names().values()) == list(range(1, 21))
    assert {
        await value(store, f"name-{number}") == (str(number), str(store.names()[f"name-{number}"])) for number in range(20)
    } == {True}


@settings(max_examples=30)
@given(st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()))
async def test_any_text_comes_back(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    directory = tmp_path_factory.mktemp("s")
    store = EncryptedFileSecrets(directory / "s", directory / "k")
    store.set("a/b-c_d", text)
    assert (await store.read("a/b-c_d")).value.get_secret_value() == text


async def test_the_environment_holds_secrets_by_their_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_MODELS_OPEN_AI", " sk-1 ")
    secret = await EnvironmentSecrets().read("models/open-ai")
    assert secret.value.get_secret_value() == "sk-1"
    with pytest.raises(SecretMissing, match="SECRET_OTHER"):
        await EnvironmentSecrets().read("other")
    with pytest.raises(InvalidRequest):
        await EnvironmentSecrets().read("../x")
