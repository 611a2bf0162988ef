"""An answer that is read while it is written: nothing of it leaves before it has passed output moderation.

Text is held until its span is complete, looked at together with what comes before it, and handed on. What breaks a rule ends
this: high and critical findings end the call, everything milder only ends the releasing, since the final review may let a
reader have the answer, or a changed one. It fails closed: without a constitution, or when the check errs, nothing more leaves.

What surprises: a call is not ended by what the first look finds. A few words later a harmless phrase may have shown itself
("build a bomb" becomes "build a bomb shelter"), so some more text is waited for, while nothing leaves.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Final

from activities.checkers import IN_THREAD_BYTES, NonsenseError, checked_findings
from domain.constitution import ActiveConstitution, Direction, Severity
from domain.errors import ModelContentFiltered
from domain.models import SlmCall
from domain.ports.constitution import ConstitutionSource
from domain.ports.models import TokenStreams
from domain.ports.moderation import Finding, Moderator
from domain.spans import WINDOW_CHARACTERS, span_end, window_start
from domain.token_streams import attempt_number

CHECK_SECONDS: Final = 2.0
"""How long one look may take, with getting the constitution."""
SURE_CHARACTERS: Final = 100
"""So much text must follow a finding before it ends the call."""
_DENYING: Final = frozenset({Severity.HIGH, Severity.CRITICAL})
_log = logging.getLogger(__name__)

Release = Callable[[int, str], Awaitable[None]]
"""Takes a text that passed, and how many characters came before it."""


class SpanGuard:
    """One attempt's text on its way out."""

    def __init__(self, constitutions: ConstitutionSource, moderator: Moderator, release: Release) -> None:
        """`release` gets what has passed, in order."""
        self._constitutions, self._moderator, self._release = constitutions, moderator, release
        self._whole: list[str] = []
        # The end of the text: what may still be looked at. Of it so much is released, and so much cut into spans.
        self._tail = ""
        self._released = self._cut = 0
        self._dropped = 0
        self._closed = False

    async def feed(self, text: str) -> None:
        """Takes a piece, and releases what can be. Raises ModelContentFiltered when the text must not go on."""
        if not self._closed:
            self._whole.append(text)
            self._tail += text
            await self._advance(whole=False)

    async def finish(self) -> None:
        """Releases the rest, if it passes. The answer is there now, so nothing is refused: that is for the final review."""
        await self._advance(whole=True)

    async def _advance(self, *, whole: bool) -> None:
        while not self._closed and (end := span_end(self._tail, self._cut, whole=whole)) is not None:
            self._cut = end
            (findings,) = await asyncio.gather(self._looked_at(sure=whole), return_exceptions=True)
            if isinstance(findings, BaseException):
                # The error's own words may quote the text; its type does not.
                _log.error("Nothing more of a stream is released: its check failed with %s.", type(findings).__name__)
                self._closed = True
            elif not findings:
                await self._let_out()
            elif whole or not _denies(findings):
                self._closed = True
            elif self._is_sure(findings):
                self._closed = True
                rules = ", ".join(sorted({finding.rule_id for finding in findings}))
                raise ModelContentFiltered(f"Moderation refused the answer ({rules}); ask in other words.")

    async def _looked_at(self, *, sure: bool) -> tuple[Finding, ...]:
        """What breaks a rule in the text up to the last span. Raises when that cannot be said."""
        async with asyncio.timeout(CHECK_SECONDS):
            constitution = await self._constitutions.current()
            begin = window_start(self._tail, self._released)
            if begin is None:
                raise NonsenseError("so few letters in so much text")
            before = self._dropped + begin
            findings = await self._found(constitution, self._tail[begin : self._cut], before)
            if before and findings and (sure or not _denies(findings) or self._is_sure(findings)):
                # The window may begin in the middle of what makes it harmless.
                findings = await self._found(constitution, "".join(self._whole)[: self._dropped + self._cut], 0)
            return findings

    async def _found(self, constitution: ActiveConstitution, text: str, offset: int) -> tuple[Finding, ...]:
        """Findings, with their places in the whole text."""
        arguments = (constitution, text, Direction.OUTPUT)
        found: object = (
            await asyncio.to_thread(self._moderator.review, *arguments)
            if len(text.encode(errors="replace")) > IN_THREAD_BYTES
            else self._moderator.review(*arguments)
        )
        findings = checked_findings(found, text)
        return tuple(item.model_copy(update={"start": item.start + offset, "end": item.end + offset}) for item in findings)

    def _is_sure(self, findings: tuple[Finding, ...]) -> bool:
        """Whether enough text follows what was found."""
        end = min(finding.end for finding in findings if finding.severity in _DENYING)
        return self._dropped + self._cut - end >= SURE_CHARACTERS

    async def _let_out(self) -> None:
        start, text = self._dropped + self._released, self._tail[self._released : self._cut]
        self._released = self._cut
        await self._release(start, text)
        # One more than a window, which then still knows that it does not hold the beginning.
        spare = self._released - WINDOW_CHARACTERS - 1
        if spare > WINDOW_CHARACTERS:
            self._tail = self._tail[spare:]
            self._dropped += spare
            self._released = self._cut = self._released - spare


class _Unread:
    """The stream of a call that nobody reads while it is written."""

    async def feed(self, text: str) -> None:
        """Nothing to do."""


class GuardedStreams:
    """Implements `activities.slm.Streams`: moderated, and carried by `TokenStreams`."""

    def __init__(self, *, streams: TokenStreams, constitutions: ConstitutionSource, moderator: Moderator) -> None:
        """`streams` carries what the rules of the constitution in force let pass."""
        self._streams, self._constitutions, self._moderator = streams, constitutions, moderator

    def opened(self, call: SlmCall, attempt: int) -> AbstractAsyncContextManager[SpanGuard | _Unread]:
        """The stream of an attempt; its end, however it comes, is told to the reader."""
        return self._opened(call, attempt)

    @asynccontextmanager
    async def _opened(self, call: SlmCall, attempt: int) -> AsyncGenerator[SpanGuard | _Unread]:
        if call.request_id is None:
            yield _Unread()
            return
        tenant_id, request_id, number = call.actor.tenant_id, call.request_id, attempt_number(call.number, attempt)

        async def release(start: int, text: str) -> None:
            await self._streams.append(tenant_id, request_id, number, start, text)

        guard = SpanGuard(self._constitutions, self._moderator, release)
        try:
            yield guard
            await guard.finish()
        finally:
            await self._streams.end(tenant_id, request_id, number)


def _denies(findings: tuple[Finding, ...]) -> bool:
    return any(finding.severity in _DENYING for finding in findings)
