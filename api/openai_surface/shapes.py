"""What the bodies of several OpenAI paths share: members that are ignored or refused by name, and images by value."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler, Strict
from pydantic_core import CoreSchema, core_schema

from domain.base import Contract
from domain.models import ImagePart

Flag = Annotated[bool, Strict()]
Number = Annotated[float, Strict()]
Whole = Annotated[int, Strict()]
ToolName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
CallId = Annotated[str, Field(pattern=r"^\S{1,200}$")]
ModelName = Annotated[
    str,
    Field(
        pattern=r"^\S{1,265}$",
        description="`provider/model`, the name of a model that one provider has, or a role; GET /v1/models lists them.",
        examples=["dialogue_reasoning"],
    ),
]

Ignored = Annotated[Any, Field(description="Accepted and ignored.")]
"""A member that changes nothing an answer means; its default is None."""

_DATA_URL: Final = re.compile(r"^data:(image/(?:png|jpeg|gif|webp));base64,([A-Za-z0-9+/]+={0,2})\Z")


class Echoed(Contract):
    """A part of an earlier answer that a client sends back: what it has beside what we read does not change what is asked."""

    model_config = ConfigDict(extra="ignore")


class Refusing:
    """`n: Annotated[None, Refusing("…", 1)] = None`: a member that must be null or one of the values that ask for nothing."""

    def __init__(self, why: str, *harmless: object) -> None:
        """`why` says what to do instead."""
        self._why, self._harmless = why, harmless

    def __get_pydantic_core_schema__(self, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self._check)

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"enum": [None, *self._harmless], "description": f"Anything else is refused. {self._why}."}

    def _check(self, value: object) -> None:
        if value is None or any(type(value) is type(known) and value == known for known in self._harmless):
            return
        raise ValueError(self._why)


def image_of(url: str) -> ImagePart:
    """The image of a `data:` URL. Raises ValueError for every other address: none is ever fetched."""
    found = _DATA_URL.match(url)
    if found is None:
        raise ValueError(
            "Send the image itself as `data:image/png;base64,…` (png, jpeg, gif or webp); addresses of images are not fetched"
        )
    return ImagePart.model_validate({"media_type": found[1], "data": found[2]})


def checked_image_url(url: str) -> str:
    """The same URL. Raises ValueError unless it is an image by value."""
    image_of(url)
    return url


def joined(texts: Iterable[str]) -> str:
    """The text parts of one message as one text, a line each."""
    return "\n".join(texts)
