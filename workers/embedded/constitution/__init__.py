"""The built-in constitution: its sources stand beside this file, so that they can be read and changed as text.

A pattern may be written over several lines: a line break and the blanks after it are no part of it.
"""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, Final

from adapters.constitution import sign_constitution
from adapters.signing import SigningKey
from domain.constitution import Constitution

_SOURCES: Final = Path(__file__).parent


def builtin() -> Constitution:
    """The built-in constitution: the same document, and so the same hash, wherever it is made."""
    document: dict[str, Any] = tomllib.loads((_SOURCES / "constitution.toml").read_text(encoding="utf-8"))
    for rule in document["moderation"]:
        for field in ("patterns", "exceptions"):
            rule[field] = [re.sub(r"(?:^|\n)\s*", "", pattern) for pattern in rule.get(field, ())]
    document["policies"] = (_SOURCES / "policies.cedar").read_text(encoding="utf-8")
    return Constitution.model_validate_json(json.dumps(document))


def sign_builtin(key: SigningKey) -> dict[str, Any]:
    """A signed envelope of the built-in constitution."""
    return sign_constitution(builtin(), key)
