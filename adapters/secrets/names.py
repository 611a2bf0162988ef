"""Names of secrets, checked before a store is asked: a name becomes part of a path."""

from __future__ import annotations

from typing import Final

from pydantic import TypeAdapter, ValidationError

from domain.errors import InvalidRequest
from domain.ports.secrets import SecretName

_NAME: Final[TypeAdapter[str]] = TypeAdapter(SecretName)


def checked(name: str) -> str:
    """The name. Raises InvalidRequest, which does not repeat it: somebody may have written the secret there."""
    try:
        return _NAME.validate_python(name)
    except ValidationError:
        raise InvalidRequest("A secret's name is lower-case words parted by '/', such as models/openai.") from None
