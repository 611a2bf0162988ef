"""A backup that is damaged, foreign or forged changes nothing."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from domain.errors import Conflict, InvalidRequest, NotFound
from workers.embedded.restore import restore

FILES = {"keys/codec.json": b'{"keys": []}', "postgres/data/PG_VERSION": b"18\n", "temporal/temporal.db": b"histories"}


def archive(path: Path, content: dict[str, bytes] | None = None, **manifest: object) -> Path:
    """A backup of FILES, whose manifest or content may be other than it should be."""
    described = {
        "format": 1,
        "created_at": "2026-11-23T00:00:00Z",
        "postgres_major": 18,
        "files": {name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()},
        "directories": ["keys", "postgres", "postgres/data", "postgres/data/pg_notify", "temporal"],
        **manifest,
    }
    with tarfile.open(path, "w:gz") as tar:
        for name, data in {"manifest.json": json.dumps(described).encode(), **(FILES if content is None else content)}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def test_a_sound_backup_is_put_in_place_privately(tmp_path: Path) -> None:
    home = tmp_path / "home"
    restore(home, archive(tmp_path / "sound.tar.gz"))
    assert {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()} == FILES
    assert (home / "postgres" / "data" / "pg_notify").is_dir()
    assert all(path.stat().st_mode & 0o077 == 0 for path in (home, *home.rglob("*")))


@pytest.mark.parametrize(
    ("name", "files", "manifest"),
    [
        ("changed", {**FILES, "keys/codec.json": b'{"keys": [1]}'}, {}),
        ("missing", {name: data for name, data in FILES.items() if name != "keys/codec.json"}, {}),
        ("added", {**FILES, "keys/more.json": b"{}"}, {}),
        ("outside", {**FILES, "../outside": b"x"}, {"files": {"../outside": hashlib.sha256(b"x").hexdigest()}}),
        ("directory outside", FILES, {"directories": ["../outside"]}),
        ("absolute", FILES, {"directories": ["/outside-of-the-home"]}),
        ("other format", FILES, {"format": 2}),
        ("other postgres", FILES, {"postgres_major": 17}),
        ("unreadable manifest", FILES, {"format": "one"}),
    ],
)
def test_what_is_not_as_its_manifest_says_is_refused(
    tmp_path: Path, name: str, files: dict[str, bytes], manifest: dict[str, object]
) -> None:
    home = tmp_path / "home"
    with pytest.raises(InvalidRequest):
        restore(home, archive(tmp_path / f"{name}.tar.gz", files, **manifest))
    assert not home.exists()
    assert not (tmp_path / "outside").exists()


def test_a_file_cut_short_and_one_that_is_no_archive_are_refused(tmp_path: Path) -> None:
    sound = archive(tmp_path / "sound.tar.gz").read_bytes()
    (tmp_path / "cut.tar.gz").write_bytes(sound[: len(sound) // 2])
    (tmp_path / "noise.tar.gz").write_bytes(gzip.compress(b"no archive at all"))
    (tmp_path / "text.tar.gz").write_bytes(b"text")
    home = tmp_path / "home"
    home.mkdir()
    for name in ("cut", "noise", "text"):
        with pytest.raises(InvalidRequest):
            restore(home, tmp_path / f"{name}.tar.gz")
        assert list(home.iterdir()) == []


def test_a_home_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mine").write_text("mine")
    with pytest.raises(Conflict):
        restore(tmp_path / "home", archive(tmp_path / "sound.tar.gz"))
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["mine"]
    with pytest.raises(NotFound):
        restore(tmp_path / "other", tmp_path / "nowhere.tar.gz")
