"""What answers on OpenAI's paths have in common: their ids, and where an answer came from."""

from __future__ import annotations

from domain.base import Contract, Count
from domain.errors import ModelContentFiltered
from domain.ids import SlmRequestId
from domain.models import FinishReason
from domain.slm import SlmStatus, SlmView


class Provenance(Contract):
    """Ours, beside what OpenAI's shapes say: the durable request behind an answer, who answered it and what it cost.

    `cost_micros` is in millionths of `currency`; null where the price is not known.
    """

    request_id: SlmRequestId
    workflow_id: str
    provider: str | None
    model: str | None
    attempt: Count
    fallback: bool
    cost_micros: Count | None
    currency: str | None
    price_snapshot: str | None
    budgets: tuple[str, ...]


def provenance(view: SlmView) -> Provenance:
    """Where the answer of a request came from."""
    return Provenance(
        request_id=view.request_id,
        workflow_id=view.workflow_id,
        provider=view.provider,
        model=view.model,
        attempt=view.attempt,
        fallback=view.fallback,
        cost_micros=view.cost_micros,
        currency=view.currency,
        price_snapshot=view.price_snapshot,
        budgets=view.budgets,
    )


def public_id(prefix: str, request_id: str) -> str:
    """`chatcmpl-` and the hex of `slm_…`."""
    return prefix + request_id.partition("_")[2]


def answered_by(view: SlmView, asked: str) -> str:
    """`provider/model` of the model that answered; what was asked for until that is known."""
    return f"{view.provider}/{view.model}" if view.provider and view.model else asked


def withheld(view: SlmView) -> bool:
    """Whether there was an answer and it was withheld: the gate refused it, or moderation cut it off while it was written."""
    if view.status is SlmStatus.FAILED:
        return view.error is not None and view.error.type == ModelContentFiltered.type
    return view.status is SlmStatus.DENIED and view.provider is not None


def finish_of(view: SlmView) -> FinishReason:
    """Why the answer ended, in OpenAI's words."""
    if withheld(view):
        return FinishReason.CONTENT_FILTER
    if view.message is not None and view.message.tool_calls:
        return FinishReason.TOOL_CALLS
    known = {reason.value: reason for reason in FinishReason}
    return known.get(view.finish_reason or "", FinishReason.STOP)


def text_of(view: SlmView) -> str:
    """The text of the answer; nothing of one that was withheld."""
    return "" if withheld(view) else view.text or ""
