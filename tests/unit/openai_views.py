"""Requests as they read, for the translation into OpenAI's words."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

from domain.models import ChatMessage, ToolCall
from domain.sessions import Usage
from domain.slm import SlmKind, SlmStatus, SlmView

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
REQUEST = "slm_" + "0" * 31 + "a"
clean = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs"), exclude_characters="\ufffe\uffff"), max_size=30)
names = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True)
calls = st.builds(ToolCall, id=st.from_regex(r"call_[a-z0-9]{1,8}", fullmatch=True), name=names, arguments=clean)


def view(**changes: Any) -> SlmView:
    """A completed request, or what the changes make of it."""
    values: dict[str, Any] = {
        "request_id": REQUEST,
        "workflow_id": f"slm/demo/{REQUEST}",
        "status": SlmStatus.COMPLETED,
        "kind": SlmKind.COMPLETE,
        "role": "dialogue_reasoning",
        "lane": "interactive",
        "subject": "someone",
        "provider": "acme",
        "model": "large",
        "finish_reason": "stop",
        "usage": Usage(input_tokens=7, output_tokens=3),
        "cost_micros": 12,
        "currency": "USD",
        "price_snapshot": "s1",
        "attempt": 1,
        "text": "Good day.",
        "created_at": NOW,
        "completed_at": NOW,
    }
    return SlmView(**(values | changes))


def running() -> SlmView:
    """A request that nobody has answered yet."""
    return view(
        status=SlmStatus.RUNNING, provider=None, model=None, finish_reason=None, usage=Usage(), text=None, completed_at=None
    )


@st.composite
def answers(draw: st.DrawFn) -> SlmView:
    """A completed request with text, tool calls or both; some cut off or withheld."""
    text = draw(clean)
    called = tuple(draw(st.lists(calls, max_size=3)))
    status = draw(st.sampled_from([SlmStatus.COMPLETED, SlmStatus.COMPLETED, SlmStatus.DENIED]))
    return view(
        status=status,
        text=text if status is SlmStatus.COMPLETED else None,
        message=ChatMessage(role="assistant", content=text, tool_calls=called) if status is SlmStatus.COMPLETED else None,
        finish_reason=draw(st.sampled_from(["stop", "length", "tool_calls", "content_filter", "odd"])),
    )
