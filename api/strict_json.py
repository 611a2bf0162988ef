"""JSON as it may come in: UTF-8, one meaning for every reader, and nothing that would hurt further in.

Stricter than RFC 8259 where it leaves readers free to differ: a repeated name, NaN and Infinity, a number beyond what a
double holds, and more values or levels than any of our contracts has are refused. Strings and names are clean (`api.edge_types`).
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn, cast

from api.edge_types import unclean_character
from domain.errors import InvalidRequest

MAX_DEPTH: Final = 32
MAX_VALUES: Final = 10_000
_MAX_INTEGER: Final = 2**53 - 1


class _Refused(ValueError):
    """Carries our sentence through the decoder."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Refused("The body names a member of an object twice; send each once.")
    return found


def _number(text: str) -> int | float:
    """A whole number is one however it is written: `9.0` is 9 (JSON Schema, and RFC 8785 writes it so)."""
    value = float(text)
    return int(value) if value.is_integer() and abs(value) <= _MAX_INTEGER else value


def _no_constant(name: str) -> NoReturn:
    raise _Refused(f"The body holds {name}, which JSON does not know; leave the member out or send null.")


def parse_json(data: bytes) -> Any:
    """The value. Raises InvalidRequest, which never quotes the body."""
    try:
        text = data.decode("utf-8")
        value: Any = json.loads(text, object_pairs_hook=_unique, parse_float=_number, parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"The body is not UTF-8 (byte {error.start}).") from None
    except json.JSONDecodeError as error:
        raise InvalidRequest(f"The body is not JSON: {error.msg} at character {error.pos}.") from None
    except RecursionError:
        raise InvalidRequest(_too_deep()) from None
    except _Refused as error:
        raise InvalidRequest(str(error)) from None
    except ValueError:
        # Python refuses to read integers of several thousand digits.
        raise InvalidRequest(_beyond()) from None
    _check(value)
    return value


def _too_deep() -> str:
    return f"The body is nested deeper than {MAX_DEPTH} levels."


def _beyond() -> str:
    return "The body holds a number beyond what JSON carries without loss; send it as a string."


def _check(root: Any) -> None:
    """Walks without recursion, so that depth costs no stack."""
    open_values: list[tuple[Any, int, str]] = [(root, 1, "#")]
    seen = 0
    while open_values:
        value, depth, pointer = open_values.pop()
        seen += 1
        if seen + len(open_values) > MAX_VALUES:
            raise InvalidRequest(f"The body holds more than {MAX_VALUES} values.")
        match value:
            case str():
                _check_text(value, pointer)
            case bool() | None:
                pass
            case int() if abs(value) > _MAX_INTEGER:
                raise InvalidRequest(_beyond(), errors=[{"pointer": pointer, "detail": "Number too large"}])
            case float() if not math.isfinite(value):
                raise InvalidRequest(_beyond(), errors=[{"pointer": pointer, "detail": "Number too large"}])
            case dict() | list() if depth > MAX_DEPTH:
                raise InvalidRequest(_too_deep())
            case dict():
                for name, item in cast("dict[str, Any]", value).items():
                    _check_text(name, pointer)
                    open_values.append((item, depth + 1, f"{pointer}/{_escaped(name)}"))
            case list():
                open_values.extend((item, depth + 1, f"{pointer}/{index}") for index, item in enumerate(cast("list[Any]", value)))
            case _:
                pass


def _escaped(name: str) -> str:
    return name[:64].replace("~", "~0").replace("/", "~1")


def _check_text(text: str, pointer: str) -> None:
    if (found := unclean_character(text)) is not None:
        raise InvalidRequest(
            "A text holds a control character or half a surrogate pair; remove it.",
            errors=[{"pointer": pointer, "detail": f"Text may not hold the character {found}"}],
        )
