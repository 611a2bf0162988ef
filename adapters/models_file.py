"""MODELS_FILE: providers, models and roles in TOML, as docs/models.md describes it."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError

from domain.catalogue import Catalogue
from domain.errors import DependencyUnavailable


def read_catalogue(path: Path) -> Catalogue:
    """The file's catalogue. Raises DependencyUnavailable, which names the place that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DependencyUnavailable(f"MODELS_FILE {path} cannot be read ({type(error).__name__}).") from None
    try:
        return Catalogue.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DependencyUnavailable(f"MODELS_FILE {path} is not TOML: {error}.") from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise DependencyUnavailable(f"MODELS_FILE {path}, {place}: {first['msg'].removeprefix('Value error, ')}.") from None
