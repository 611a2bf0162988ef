"""Bring a backup into an empty home. Nothing is put in place before every file has been checked against the manifest."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Final

from pydantic import ValidationError

from domain.errors import Conflict, InvalidRequest, NotFound
from workers.embedded.backup import FORMAT, MANIFEST, Manifest, sha256
from workers.embedded.files import make_private

POSTGRES_MAJOR: Final = 18
_STAGE: Final = ".restoring"
_LARGEST_MANIFEST: Final = 64 * 1024 * 1024


def restore(home: Path, file: Path) -> Manifest:
    """Restore `file` into `home`, which must be missing or empty. `soma up` then starts it.

    Raises NotFound (no such file), Conflict (the home is not empty), InvalidRequest (no backup of ours, damaged, or of another
    PostgreSQL); the home is then as it was.
    """
    if not file.is_file():
        raise NotFound(f"There is no file {file}.")
    if home.exists() and any(home.iterdir()):
        raise Conflict(f"{home} is not empty; set SOMA_HOME to an empty directory.")
    made = not home.exists()
    make_private(home)
    stage = home / _STAGE
    try:
        manifest = _unpack(file, stage)
        for entry in sorted(stage.iterdir()):
            entry.rename(home / entry.name)
        stage.rmdir()
    except BaseException:
        shutil.rmtree(home if made else stage, ignore_errors=True)
        raise
    return manifest


def _unpack(file: Path, stage: Path) -> Manifest:
    stage.mkdir(mode=0o700)
    try:
        with tarfile.open(file, "r:gz") as archive:
            manifest = _read_manifest(archive)
            for name in manifest.directories:
                (stage / _inside(name)).mkdir(mode=0o700, parents=True, exist_ok=True)
            missing = set(manifest.files)
            while member := archive.next():
                if member.isdir():
                    continue
                if not member.isfile() or member.name not in missing:
                    raise InvalidRequest(f"{file} holds {member.name}, which its manifest does not name; it cannot be trusted.")
                _extract(archive, member, stage)
                if sha256(stage / member.name) != manifest.files[member.name]:
                    raise InvalidRequest(f"{file} is damaged: {member.name} is not what its manifest says; use another backup.")
                missing.discard(member.name)
    except (tarfile.TarError, EOFError, OSError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise InvalidRequest(f"{file} is damaged or no backup; use another one.") from error
    if missing:
        raise InvalidRequest(f"{file} is incomplete: {len(missing)} files are missing; use another backup.")
    return manifest


def _read_manifest(archive: tarfile.TarFile) -> Manifest:
    member = archive.next()
    content = archive.extractfile(member) if member and member.name == MANIFEST and member.isfile() else None
    if content is None:
        raise InvalidRequest("The file is no backup of ours: it does not begin with a manifest.")
    try:
        manifest = Manifest.model_validate_json(content.read(_LARGEST_MANIFEST))
    except ValidationError as error:
        raise InvalidRequest("The backup's manifest cannot be read; use another backup.") from error
    if manifest.format != FORMAT or manifest.postgres_major != POSTGRES_MAJOR:
        raise InvalidRequest(
            f"The backup is of format {manifest.format} with PostgreSQL {manifest.postgres_major}; "
            f"this version restores format {FORMAT} with PostgreSQL {POSTGRES_MAJOR}."
        )
    return manifest


def _inside(name: str) -> str:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InvalidRequest(f"The backup names {name}, which lies outside the home; it cannot be trusted.")
    return name


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, stage: Path) -> None:
    source, target = archive.extractfile(member), stage / _inside(member.name)
    if source is None:
        raise InvalidRequest(f"{member.name} cannot be read from the backup; use another one.")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with target.open("xb") as file:
        shutil.copyfileobj(source, file)
    target.chmod(0o600)
