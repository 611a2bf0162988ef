"""A Response as a stream of semantic events. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from api.openai_surface.answers import text_of, withheld
from api.openai_surface.chat_stream import DONE, sse
from api.openai_surface.responses import (
    OutputCall,
    OutputItem,
    OutputMessage,
    OutputTextPart,
    ResponseObject,
    failed,
    output_calls,
    output_message,
    response,
)
from api.openai_surface.responses_models import ResponseBody
from domain.errors import DomainError
from domain.slm import SlmView


class ResponseStream:
    """Makes the events of one answer. Its text is the first item; calls come whole, once the answer is."""

    def __init__(self, view: SlmView, body: ResponseBody) -> None:
        """`view` is the request as it was recorded."""
        self._view, self._body = view, body
        self._sequence = 0
        self._sent: list[str] = []
        self._begun = False

    def begin(self) -> Iterator[bytes]:
        """Says that the answer is being made."""
        yield self._whole("response.created", response(self._view, self._body))
        yield self._whole("response.in_progress", response(self._view, self._body))

    def text(self, text: str) -> Iterator[bytes]:
        """More of the answer."""
        if not self._begun:
            yield from self._begin_message()
        self._sent.append(text)
        yield self._part("response.output_text.delta", delta=text, logprobs=[])

    def end(self, view: SlmView, rest: str) -> Iterator[bytes]:
        """What was not sent of the text, the calls, and the whole Response."""
        calls = output_calls(view)
        if rest:
            yield from self.text(rest)
        if not self._begun and not calls and not withheld(view):
            yield from self._begin_message()
        output: tuple[OutputItem, ...] = calls
        if self._begun:
            # Of an answer that was withheld at last, what had passed the gate before stays said.
            message = output_message(view, "".join(self._sent) if withheld(view) else text_of(view))
            yield from self._end_message(message)
            output = (message, *calls)
        for index, call in enumerate(calls, start=int(self._begun)):
            yield from self._call(index, call)
        made = response(view, self._body, output)
        yield self._whole(f"response.{made.status}", made)
        yield DONE

    def fail(self, error: DomainError) -> Iterator[bytes]:
        """Ends a stream whose head is sent already."""
        said = (output_message(self._view, "".join(self._sent)).model_copy(update={"status": "incomplete"}),)
        yield self._whole("response.failed", failed(self._view, self._body, error, said if self._begun else ()))
        yield DONE

    def _begin_message(self) -> Iterator[bytes]:
        self._begun = True
        item = output_message(self._view, "").model_copy(update={"status": "in_progress", "content": ()})
        yield self._event("response.output_item.added", output_index=0, item=item.model_dump())
        yield self._part("response.content_part.added", part=OutputTextPart(text="").model_dump())

    def _end_message(self, message: OutputMessage) -> Iterator[bytes]:
        part = message.content[0]
        yield self._part("response.output_text.done", text=part.text, logprobs=[])
        yield self._part("response.content_part.done", part=part.model_dump())
        yield self._event("response.output_item.done", output_index=0, item=message.model_dump())

    def _call(self, index: int, call: OutputCall) -> Iterator[bytes]:
        begun = call.model_copy(update={"status": "in_progress", "arguments": ""})
        place = {"item_id": call.id, "output_index": index}
        yield self._event("response.output_item.added", output_index=index, item=begun.model_dump())
        yield self._event("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self._event("response.function_call_arguments.done", **place, name=call.name, arguments=call.arguments)
        yield self._event("response.output_item.done", output_index=index, item=call.model_dump())

    def _part(self, event: str, **data: Any) -> bytes:
        item = output_message(self._view, "").id
        return self._event(event, item_id=item, output_index=0, content_index=0, **data)

    def _whole(self, event: str, made: ResponseObject) -> bytes:
        return self._event(event, response=made.model_dump(mode="json"))

    def _event(self, event: str, **data: Any) -> bytes:
        number, self._sequence = self._sequence, self._sequence + 1
        return sse({"type": event, "sequence_number": number, **data}, event)
