"""What a provider is asked, put together from references: a session's turn, or the input of a request of its own."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError

from domain.catalogue import RoleConfig
from domain.errors import DomainError, InvalidRequest, NotFound
from domain.memory import Recollection
from domain.models import ChatMessage, CompletionRequest, EmbeddingRequest, SlmCall, SourceText
from domain.ports.blobs import BlobStore
from domain.ports.documents import DocumentReads
from domain.ports.sessions import SessionReads
from domain.slm import PARTS, ChatInput, EmbeddingInput

EXCHANGES: Final = 20
"""Earlier exchanges a model is given."""

INSTRUCTIONS: Final = (
    "You answer the user's last message. Use the given sources where they help, and say plainly when they do not hold the answer."
)


class ModelInputs:
    """Reads what calls name."""

    def __init__(self, *, blobs: BlobStore, sessions: SessionReads, documents: DocumentReads) -> None:
        """`blobs` holds texts, `sessions` earlier exchanges, `documents` the sources."""
        self._blobs, self._sessions, self._documents = blobs, sessions, documents

    async def completion(self, call: SlmCall, role: RoleConfig, key: str) -> CompletionRequest:
        """What `slm.complete` asks; `key` names the call to a vendor that takes one."""
        return await (self._own(call, role, key) if call.input is not None else self._turn(call, role, key))

    async def embedding(self, call: SlmCall, key: str) -> EmbeddingRequest:
        """What `slm.embed` asks."""
        asked = EmbeddingInput.model_validate_json(await self._input(call))
        texts = await self._transformed(call, len(asked.texts)) or asked.texts
        return EmbeddingRequest(texts=texts, dimensions=asked.dimensions, idempotency_key=key)

    async def _input(self, call: SlmCall) -> bytes:
        if call.input is None:
            raise InvalidRequest("The call names no input.")
        return await self._blobs.get(call.actor.tenant_id, call.input.sha256)

    async def _transformed(self, call: SlmCall, parts: int) -> tuple[str, ...] | None:
        """The texts that the gate put in place of the input's, where it did."""
        if call.transformed is None:
            return None
        texts = (await self._blobs.get(call.actor.tenant_id, call.transformed.sha256)).decode().split(PARTS)
        if len(texts) != parts:
            # Nothing untransformed may be used, so this ends the call.
            raise DomainError("The transformed text cannot be taken apart again.")
        return tuple(texts)

    async def _own(self, call: SlmCall, role: RoleConfig, key: str) -> CompletionRequest:
        asked = ChatInput.model_validate_json(await self._input(call))
        if texts := await self._transformed(call, len(asked.texts())):
            asked = asked.with_texts(texts)
        settings = role.settings.model_copy(update=asked.settings.model_dump(exclude_unset=True))
        return CompletionRequest(
            messages=asked.messages,
            max_output_tokens=asked.max_output_tokens,
            idempotency_key=key,
            settings=settings,
            tools=asked.tools,
            tool_choice=asked.tool_choice,
            parallel_tool_calls=asked.parallel_tool_calls,
            format=asked.format,
        )

    async def _turn(self, call: SlmCall, role: RoleConfig, key: str) -> CompletionRequest:
        tenant_id = call.actor.tenant_id
        if call.session_id is None or call.turn_id is None or call.message is None:
            raise InvalidRequest("The call names neither a turn nor an input.")
        seq = await self._sessions.turn_number(tenant_id, call.session_id, call.turn_id)
        earlier = await self._sessions.conversation(tenant_id, call.session_id, seq, EXCHANGES)
        question = (await self._blobs.get(tenant_id, call.message.sha256)).decode()
        return CompletionRequest(
            messages=(
                ChatMessage(role="system", content=INSTRUCTIONS),
                *earlier,
                ChatMessage(role="user", content=question, source=call.turn_id),
            ),
            sources=await self._sources(call, {message.source for message in earlier}),
            max_output_tokens=role.max_output_tokens,
            idempotency_key=key,
            settings=role.settings,
        )

    async def _sources(self, call: SlmCall, said: set[str | None]) -> tuple[SourceText, ...]:
        """The session's documents, without those deleted since, and what was recalled beyond the turns already `said`."""
        sources: list[SourceText] = []
        for document_id in call.documents:
            try:
                document = await self._documents.text(call.actor.tenant_id, document_id)
            except NotFound:
                continue
            sources.append(SourceText(source=document_id, title=document.name, text=document.text))
        if call.recalled is not None:
            data = await self._blobs.get(call.actor.tenant_id, call.recalled.sha256)
            try:
                recollection = Recollection.model_validate_json(data)
            except ValidationError:
                raise DomainError("What memory recalled cannot be read.") from None
            sources += [
                SourceText(source=item.key, title="memory", text=item.text)
                for item in recollection.items
                if item.key.rpartition("/")[2] not in said
            ]
        return tuple(sources)
