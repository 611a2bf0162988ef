"""docs/configuration.md, written from the settings class: `make docs` writes the file, a test holds it against this.

`python -m runtime.settings_doc` prints it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import NoDecode

from runtime.settings import Settings

_HEAD: Final = """# Configuration

Every process reads its settings from environment variables. This page is written from `runtime/settings.py` by `make docs`.
A variable that is unset or empty has its default. One that cannot be read stops the process at its start and is named.

`soma up` sets what the embedded stack needs and keeps its own addresses under `.soma/`; a variable you set wins, so any part
can be replaced by a server of yours. Secrets are never logged.

| Variable | Value | Default | Meaning |
|---|---|---|---|
"""

_TEMPORAL: Final = """
## Temporal

The connection is described by Temporal's own environment variables and profiles (a TOML file), not by settings of ours:

| Variable | Meaning |
|---|---|
| `TEMPORAL_ADDRESS` | Host and port of the frontend. |
| `TEMPORAL_NAMESPACE` | Namespace, `default` unless set. |
| `TEMPORAL_API_KEY` | API key of Temporal Cloud; it turns TLS on. |
| `TEMPORAL_TLS` | `true` turns TLS on. |
| `TEMPORAL_TLS_SERVER_CA_CERT_PATH`, `…_DATA` | Authority the server's certificate is verified with. |
| `TEMPORAL_TLS_CLIENT_CERT_PATH`, `…_DATA` | Certificate of ours, for mutual TLS. |
| `TEMPORAL_TLS_CLIENT_KEY_PATH`, `…_DATA` | Its key. |
| `TEMPORAL_TLS_SERVER_NAME` | Name expected in the server's certificate. |
| `TEMPORAL_CONFIG_FILE` | File with profiles. |
| `TEMPORAL_PROFILE` | Profile of that file, `default` unless set. |

The namespace must know our search attributes and the server must run with the flags in `infra/temporal/dynamic-config.yaml`.
"""

_PLAIN: Final = {str: "text", int: "integer", float: "number", Path: "path", bool: "`true` or `false`", SecretStr: "secret text"}


def render() -> str:
    """The whole page, ending in a newline."""
    rows = [_row(name, field) for name, field in Settings.model_fields.items()]
    return _HEAD + "".join(rows) + _TEMPORAL


def _row(name: str, field: FieldInfo) -> str:
    cells = (f"`{name.upper()}`", _value(field), _default(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |\n"


def _value(field: FieldInfo) -> str:
    """What may be written, with its bounds."""
    kind, metadata = _unwrap(field.annotation, list(field.metadata))
    if get_origin(kind) is dict:
        return "`key=value` pairs, comma-separated"
    if get_origin(kind) is Literal:
        return " or ".join(f"`{choice}`" for choice in get_args(kind))
    text = _PLAIN[kind]
    low = next((f"≥ {item.ge}" if isinstance(item, Ge) else f"> {item.gt}" for item in metadata if isinstance(item, Ge | Gt)), "")
    high = next((f"≤ {item.le}" for item in metadata if isinstance(item, Le)), "")
    pattern = next((f"`{found}`" for item in metadata if (found := getattr(item, "pattern", None))), "")
    bounds = ", ".join(part for part in (low, high, pattern) if part)
    return f"{text}, {bounds}" if bounds else text


def _unwrap(annotation: Any, metadata: list[Any]) -> tuple[Any, list[Any]]:
    """The type below `Annotated` and `| None`, and every constraint met on the way."""
    if get_origin(annotation) is Annotated:
        inner, *more = get_args(annotation)
        return _unwrap(inner, [*metadata, *(item for item in more if item is not NoDecode)])
    if get_origin(annotation) in (Union, UnionType):
        (inner,) = (item for item in get_args(annotation) if item is not NoneType)
        return _unwrap(inner, metadata)
    return annotation, metadata


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    return "" if default in (None, "", {}) else f"`{default}`"


if __name__ == "__main__":
    sys.stdout.write(render())
