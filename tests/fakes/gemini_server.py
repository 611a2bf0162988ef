"""Google's Gemini API over a loopback socket: answers from the prompt, or misbehaves as told. Its client holds it to its word.

`async with FakeGemini() as fake: fake.url, fake.calls, fake.mode = "quota"`.
"""

from __future__ import annotations

from typing import Any

from fakes.vendor_server import WORDS, Asked, Call, FakeVendor, Mode, Reply, event_of, tokens, vector_of
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

REFUSALS: dict[Mode, tuple[int, str, str, str | None]] = {
    "rate_limited": (429, "RESOURCE_EXHAUSTED", WORDS, "RATE_LIMIT_EXCEEDED"),
    "quota": (403, "PERMISSION_DENIED", WORDS, "BILLING_DISABLED"),
    "error": (500, "INTERNAL", WORDS, None),
    "overloaded": (503, "UNAVAILABLE", WORDS, None),
    "gateway_timeout": (504, "DEADLINE_EXCEEDED", WORDS, None),
    "unauthorized": (400, "INVALID_ARGUMENT", f"API key not valid. {WORDS}", "API_KEY_INVALID"),
    "forbidden": (403, "PERMISSION_DENIED", WORDS, None),
    "unknown_model": (404, "NOT_FOUND", WORDS, None),
    "refused": (400, "INVALID_ARGUMENT", WORDS, None),
    "too_long": (
        400,
        "INVALID_ARGUMENT",
        f"The input token count (9) exceeds the maximum number of tokens allowed. {WORDS}",
        None,
    ),
    "error_body": (200, "INTERNAL", WORDS, None),
}
FINISHES = {"stop": "STOP", "length": "MAX_TOKENS", "filtered": "SAFETY", "tools": "STOP"}
INFO = "type.googleapis.com/google.rpc."


class FakeGemini(FakeVendor):
    """`url` is the base address, without the version.

    `finish`, `usage` and `refusal` (status, name, words, reason) take the place of what it would say, where they are set.
    """

    def __init__(
        self, *, mode: Mode = "ok", latency: float = 60.0, retry_after: str = "1", api_key: str | None = None, port: int = 0
    ) -> None:
        self.finish: str | None = None
        self.usage: dict[str, Any] | None = None
        self.refusal: tuple[int, str, str, str | None] | None = None
        app = FastAPI()
        app.add_api_route("/{version}/models/{model_and_method}", self._receive, methods=["POST"])
        super().__init__(app, mode=mode, latency=latency, retry_after=retry_after, api_key=api_key, port=port)

    @property
    def url(self) -> str:
        return self.base

    def reset(self) -> None:
        super().reset()
        self.finish = self.usage = self.refusal = None

    def _allowed(self, request: Request) -> bool:
        return self.api_key is None or request.headers.get("x-goog-api-key") == self.api_key

    def _envelope(self, status: int, name: str, words: str, reason: str | None) -> JSONResponse:
        details: list[dict[str, Any]] = []
        if reason is not None:
            details.append({"@type": f"{INFO}ErrorInfo", "reason": reason, "domain": "googleapis.com", "metadata": {}})
        if name == "RESOURCE_EXHAUSTED":
            details.append({"@type": f"{INFO}RetryInfo", "retryDelay": f"{self.retry_after}s"})
        error = {"code": status, "message": words, "status": name, "details": details}
        return self._error(status, {"error": error})

    def _refusal(self, mode: Mode) -> Response | None:
        refusal = self.refusal or REFUSALS.get(mode)
        return None if refusal is None else self._envelope(*refusal)

    def _malformed(self, call: Call) -> Response | None:
        if call.path.endswith(":batchEmbedContents"):
            return None
        if not call.body.get("contents"):
            return self._envelope(400, "INVALID_ARGUMENT", f"contents is not specified: {WORDS}", None)
        for content in call.body["contents"]:
            called = [part for part in content["parts"] if "functionCall" in part]
            signed = not self._model(call).startswith(("gemini-1", "gemini-2"))
            if called and signed and "thoughtSignature" not in called[0]:
                return self._envelope(400, "INVALID_ARGUMENT", f"Function call is missing a thought_signature: {WORDS}", None)
        return None

    def _model(self, call: Call) -> str:
        return call.path.rpartition("/")[2].partition(":")[0] + self.version

    def _whole(self, mode: Mode, call: Call) -> Any:
        if call.path.endswith(":batchEmbedContents"):
            return _embeddings(mode, call.body)
        reply = _asked(call.body).reply(mode)
        if mode == "refused_content":
            feedback = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}
            return feedback | {"usageMetadata": {"promptTokenCount": reply.read}, "modelVersion": self._model(call)}
        return self._chunk(mode, call, reply, _parts(reply), FINISHES[reply.finish], usage=True)

    def _events(self, mode: Mode, call: Call) -> list[str] | None:
        if not call.path.endswith(":streamGenerateContent"):
            return None
        if call.query.get("alt") != "sse":
            raise ValueError("the adapter reads events alone")
        if mode == "refused_content":
            return [event_of(self._whole(mode, call))]
        reply = _asked(call.body).reply(mode)
        pieces: list[list[dict[str, Any]]] = [[{"text": "Let me see.", "thought": True}]]
        pieces += [[{"text": piece}] for piece in reply.pieces] + [[call] for call in _calls(reply)]
        chunks = [self._chunk(mode, call, reply, piece, None, usage=False) for piece in pieces]
        chunks.append(self._chunk(mode, call, reply, [{"text": ""}], FINISHES[reply.finish], usage=True))
        return [event_of(chunk) for chunk in chunks]

    def _error_event(self, call: Call) -> str:
        del call  # Always the same.
        return event_of({"error": {"code": 503, "message": WORDS, "status": "UNAVAILABLE"}})

    def _chunk(
        self, mode: Mode, call: Call, reply: Reply, parts: list[dict[str, Any]], finish: str | None, *, usage: bool
    ) -> dict[str, Any]:
        candidate: dict[str, Any] = {"index": 0}
        if parts and mode != "empty":
            candidate["content"] = {"role": "model", "parts": parts}
        if finish:
            candidate["finishReason"] = self.finish or finish
        chunk: dict[str, Any] = {"candidates": [candidate], "modelVersion": self._model(call), "responseId": "r1"}
        if mode != "no_usage":
            # Zero is left out, and every chunk has a total so far.
            chunk["usageMetadata"] = {"promptTokenCount": reply.read} | _written(reply, whole=usage)
            if usage and self.usage is not None:
                chunk["usageMetadata"] = self.usage
        return chunk


def _written(reply: Reply, *, whole: bool) -> dict[str, Any]:
    if not whole or not reply.written:
        return {}
    if not isinstance(reply.written, int):
        return {"candidatesTokenCount": reply.written}
    thought = 1 if reply.written > 1 else 0
    written = {"candidatesTokenCount": reply.written - thought, "thoughtsTokenCount": thought}
    return written | {"totalTokenCount": reply.read + reply.written}


def _calls(reply: Reply) -> list[dict[str, Any]]:
    return [{"functionCall": {"name": name, "args": arguments}} for name, arguments in reply.calls]


def _parts(reply: Reply) -> list[dict[str, Any]]:
    said = [{"text": reply.text}] if reply.text else []
    return [{"text": "Let me see.", "thought": True}, *said, *_calls(reply)] if said or reply.calls else []


def _text(content: dict[str, Any]) -> str:
    return " ".join(part["text"] for part in content["parts"] if "text" in part)


def _asked(body: dict[str, Any]) -> Asked:
    contents = body["contents"]
    calling = ((body.get("toolConfig") or {}).get("functionCallingConfig")) or {}
    declared = [tool for group in body.get("tools", ()) for tool in group["functionDeclarations"]]
    tools = calling.get("allowedFunctionNames") or [tool["name"] for tool in declared]
    config = body.get("generationConfig") or {}
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema is None and config.get("responseMimeType") == "application/json":
        schema = {"type": "object", "properties": {"answer": {}}}
    results = [part["functionResponse"] for part in contents[-1]["parts"] if "functionResponse" in part]
    system = _text(body["systemInstruction"]) if body.get("systemInstruction") else ""
    return Asked(
        question=_text(contents[-1]),
        read=sum(map(tokens, map(_text, contents))) + tokens(system),
        sources=len(system),
        images=sum("inlineData" in part for content in contents for part in content["parts"]),
        tools=() if calling.get("mode") == "NONE" else tuple(tools),
        result=" and ".join(str(result["response"]["output"]) for result in results) if results else None,
        schema=schema,
        limit=config.get("maxOutputTokens", 1024),
    )


def _embeddings(mode: Mode, body: dict[str, Any]) -> dict[str, Any]:
    wanted = body["requests"]
    vectors = [{"values": vector_of(_text(one["content"]), one.get("outputDimensionality"))} for one in wanted]
    read = sum(tokens(_text(one["content"])) for one in wanted)
    answer: dict[str, Any] = {"embeddings": [] if mode == "empty" else vectors}
    if mode != "no_usage":
        answer["usageMetadata"] = {"promptTokenCount": "many" if mode == "wrong_usage" else read}
    return answer
