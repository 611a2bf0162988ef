"""Scripted talk: one conversation after another, each message acknowledged before the next, some sent twice at once."""

from __future__ import annotations

import asyncio
import random
import uuid
from typing import Any, Final

from chaos.contract_client import ContractClient
from chaos.ledger import Ledger, Message

MESSAGES: Final = 12
"""After so many messages a new session is started."""
_QUEUED: Final = 4
_TOPICS: Final = ("harbour", "orchard", "lighthouse", "violin", "glacier", "market", "railway", "telescope")


class Conversation:
    """Talks until `stop` is set; `begun` counts the requests that were sent off."""

    def __init__(self, name: str, client: ContractClient, ledger: Ledger, seed: str, documents: list[str]) -> None:
        self.name = name
        self.begun = 0
        self._client, self._ledger, self._documents = client, ledger, documents
        self._random = random.Random(f"{seed}/{name}")
        self._number = 0

    async def run(self, stop: asyncio.Event) -> None:
        """Every message that was begun is acknowledged when it returns."""
        while not stop.is_set():
            session_id = await self._start()
            sent: list[Message] = []
            while len(sent) < MESSAGES and not stop.is_set():
                sent.append(await self._send(session_id))
                if len(sent) > _QUEUED:
                    await self._ended(sent[-1 - _QUEUED])
                await asyncio.sleep(self._random.choice((0, 0, 0.2, 0.8)))

    def _content(self) -> str:
        self._number += 1
        return f"{self.name} asks question {self._number}: what is known about the {self._random.choice(_TOPICS)}?"

    async def _start(self) -> str:
        """Half of the sessions start with a prompt, which is their first message."""
        key = self._key()
        prompt = self._content() if self._random.random() < 0.5 else None
        body: dict[str, Any] = {"documents": self._documents}
        message = Message("", key, prompt) if prompt else None
        if message and prompt:
            body["prompt"] = prompt
            self._ledger.messages[key] = message
        answers = await self._post("/v1/sessions/start", body, key, message)
        for answer in answers:
            self._ledger.started(key, answer["session_id"])
            if message:
                message.session_id = answer["session_id"]
                message.turns.add(answer["turn_id"])
                self._ledger.read({"turn_id": answer["turn_id"], "reply": answer["reply"]})
        return answers[0]["session_id"]

    async def _send(self, session_id: str) -> Message:
        message = Message(session_id, self._key(), self._content())
        self._ledger.messages[message.key] = message
        path = f"/v1/sessions/{session_id}/messages"
        for answer in await self._post(path, {"content": message.content}, message.key, message):
            message.turns.add(answer["turn"]["turn_id"])
            self._ledger.read(answer["turn"])
        return message

    async def _post(self, path: str, body: object, key: str, message: Message | None) -> list[dict[str, Any]]:
        """Sends once, or now and then twice at the same time, as an impatient client does."""
        wait = self._random.choice((0, 0, 2, 20))
        times = 2 if self._random.random() < 0.15 else 1
        self.begun += times
        requests = (self._client.request("POST", path, body, key=key, wait=wait) for _ in range(times))
        if message:
            message.requests += times
        answers = await asyncio.gather(*requests)
        return [answer.json() for answer in answers]

    async def _ended(self, message: Message) -> None:
        """Waits until the message is answered, so that no more than a few are queued."""
        for turn_id in message.turns:
            turn: dict[str, Any] = {"completed_at": None}
            while turn["completed_at"] is None:
                turn = await self._client.get(f"/v1/sessions/{message.session_id}/turns/{turn_id}", wait=20)
            self._ledger.read(turn)

    def _key(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))
