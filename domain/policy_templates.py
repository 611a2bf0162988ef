"""Policy templates: ready policies with parameters, which render to Cedar text that can be read and changed.

A layer permits nothing by itself, so what templates render to begins with one permit for whatever the constitution permits; each
template then forbids something of it.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import Field, Strict, StringConstraints

from domain.base import Contract

Word = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
"""Without quotes and blanks, so that it stands in Cedar text as it is."""
Words = Annotated[tuple[Word, ...], Field(min_length=1, max_length=50)]
Bytes = Annotated[int, Strict(), Field(ge=0, le=2**53 - 1)]

_PERMIT: Final = """\
// A layer permits nothing by itself: this permits whatever the constitution permits.
@id("within-the-constitution")
permit (principal, action, resource);
"""


class _Template(Contract):
    """Base of all. The docstring of each is its description."""

    title: ClassVar[str]

    def cedar(self) -> str:
        """The policy."""
        raise NotImplementedError


class RegionAllowList(_Template):
    """Nothing happens in a region that is not on the list."""

    title: ClassVar[str] = "Regions"
    template: Literal["region-allow-list"] = "region-allow-list"
    regions: Words = Field(examples=[["local"]])

    def cedar(self) -> str:
        """The policy."""
        reason = "This region is not on the tenant's list."
        return _forbid(self.template, reason, f"unless {{ {_list(self.regions)}.contains(context.region) }}")


class ModelRoleAllowList(_Template):
    """Only models of these roles are called."""

    title: ClassVar[str] = "Model roles"
    template: Literal["model-role-allow-list"] = "model-role-allow-list"
    roles: Words = Field(examples=[["dialogue_reasoning"]])

    def cedar(self) -> str:
        """The policy."""
        reason = "This model role is not on the tenant's list."
        return _forbid(self.template, reason, f"unless {{ {_list(self.roles)}.contains(context.model_role) }}")


class DocumentSizeCap(_Template):
    """A request's documents have this many bytes at most, all together."""

    title: ClassVar[str] = "Size of documents"
    template: Literal["document-size-cap"] = "document-size-cap"
    max_bytes: Bytes = Field(examples=[1_000_000])

    def cedar(self) -> str:
        """The policy."""
        reason = f"The documents have more than the {self.max_bytes} bytes that the tenant allows."
        return _forbid(self.template, reason, f"when {{ context.document_bytes > {self.max_bytes} }}")


class EscalateByScore(_Template):
    """What scores as much as this waits for an approver."""

    title: ClassVar[str] = "Approval by score"
    template: Literal["escalate-by-score"] = "escalate-by-score"
    score: Annotated[int, Strict(), Field(ge=1, le=1000, examples=[400])]

    def cedar(self) -> str:
        """The policy."""
        reason = f"Its score is {self.score} or more, so someone with policy:approve must agree."
        return _forbid(self.template, reason, f"when {{ context.score >= {self.score} }}", escalates=True)


TEMPLATES: Final[tuple[type[_Template], ...]] = (RegionAllowList, ModelRoleAllowList, DocumentSizeCap, EscalateByScore)
TemplateUse = Annotated[RegionAllowList | ModelRoleAllowList | DocumentSizeCap | EscalateByScore, Field(discriminator="template")]


class TemplateView(Contract):
    """A template as it reads. `parameters` is the JSON Schema of what a use of it holds."""

    template: str
    title: str
    description: str
    parameters: dict[str, Any]


def views() -> tuple[TemplateView, ...]:
    """Every template."""
    return tuple(
        TemplateView(
            template=kind.model_fields["template"].default,
            title=kind.title,
            description=kind.__doc__ or "",
            parameters=kind.model_json_schema(),
        )
        for kind in TEMPLATES
    )


def render(uses: tuple[TemplateUse, ...]) -> str:
    """Cedar text of the templates, in their order."""
    return "\n".join((_PERMIT, *(use.cedar() for use in uses)))


def _forbid(id_: str, reason: str, condition: str, *, escalates: bool = False) -> str:
    verdict = '@verdict("escalate")\n' if escalates else ""
    return f'@id("{id_}")\n{verdict}@reason("{reason}")\nforbid (principal, action, resource)\n{condition};\n'


def _list(words: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{word}"' for word in words) + "]"
