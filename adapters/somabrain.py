"""Memory in SomaBrain, by the contract its server really has.

Its storage place is a hash of `universe::key` alone, so the key carries tenant and namespace. It answers 200 to writes it has
only queued, or lost, so the fields are read and not the status. On recall it goes by the tenant of the header, and its working
memory is neither ranked nor kept to a namespace: long-term memory is asked by default, and every result's owner is checked.
"""

from __future__ import annotations

import math
import re
import time
from typing import Any, Final, Literal

import pydantic_core
from uuid_utils.compat import uuid7

from adapters.bounded_http import Answer, Broken, as_list, as_object, as_text, exchange, new_client
from adapters.retry_after import retry_after_seconds
from domain.errors import MemoryUnavailable, UpstreamFailed
from domain.memory import MemoryItem, Recalled, Recollection, Remembered
from domain.terms import content_words

ACTOR: Final = "somagent"
QUEUED_FOR_REPLAY: Final = "memory-backend-unavailable:queued-for-replay"
QUEUED_ASYNC: Final = "ltm-persist:queued-async"
FOREIGN_RESULT: Final = "foreign-result-dropped"

_TRY_AGAIN: Final = frozenset((408, 425, 429))
_CODE = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_FAILURES_TO_OPEN: Final = 3
_OPEN_SECONDS: Final = 15.0


class _Breaker:
    """After three failures in a row nothing is asked for a while, so that a turn does not wait for what is down."""

    def __init__(self) -> None:
        self._failures = 0
        self._open_until = 0.0

    def check(self) -> None:
        left = self._open_until - time.monotonic()
        if left > 0:
            raise MemoryUnavailable("SomaBrain has failed repeatedly and is left alone for some seconds.", retry_after=left)

    def failed(self) -> None:
        self._failures += 1
        if self._failures >= _FAILURES_TO_OPEN:
            self._open_until = time.monotonic() + _OPEN_SECONDS

    def answered(self) -> None:
        self._failures = 0


class SomaBrainMemory:
    """Implements `domain.ports.memory.Memory`. It retries nothing; a retry from outside uses the same key, which overwrites."""

    def __init__(
        self,
        base_url: str,
        token: str,
        *,
        api_prefix: str = "/api",
        namespace: str = "somagent",
        layer: Literal["ltm", "both"] = "ltm",
        timeout_seconds: float = 4.0,
    ) -> None:
        """`layer="both"` adds working memory, ranked here. Raises ValueError when `base_url` is no http address."""
        if not base_url.startswith(("http://", "https://")):
            raise ValueError("SOMABRAIN_URL must be an http or https address, such as http://127.0.0.1:30101.")
        prefix = api_prefix.strip("/")
        self._root = base_url.rstrip("/") + (f"/{prefix}" if prefix else "") + "/memory"
        self._namespace, self._layer, self._seconds = namespace, layer, timeout_seconds
        self._breaker = _Breaker()
        self._client = new_client(headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"})

    async def close(self) -> None:
        """Ends its connections."""
        await self._client.aclose()

    async def remember(self, tenant_id: str, item: MemoryItem) -> Remembered:
        """Keeps the item. Raises MemoryUnavailable when it is neither stored nor queued, UpstreamFailed when it is refused."""
        prefix = self._prefix(tenant_id)
        sent = {
            "tenant": tenant_id,
            "namespace": self._namespace,
            "key": prefix + item.key,
            "value": {"text": item.text, "session_id": item.session_id},
        }
        said = await self._post("remember", tenant_id, sent)
        if said.get("ok") is not True or any(said.get(name) != sent[name] for name in ("tenant", "namespace", "key")):
            self._breaker.failed()
            raise _nonsense()
        self._breaker.answered()
        warnings = [warning for warning in as_list(said.get("warnings")) if isinstance(warning, str)]
        durable = said.get("persisted_to_ltm") is True
        queued = said.get("queued_for_ltm") is True or any(warning.startswith(QUEUED_FOR_REPLAY) for warning in warnings)
        if not durable and not queued:
            raise MemoryUnavailable("SomaBrain neither stored nor queued the item; it will be sent again under the same key.")
        return Remembered(durable=durable, queued=queued and not durable, warnings=tuple(map(_code, warnings)))

    async def recall(self, tenant_id: str, query: str, session_id: str, limit: int) -> Recollection:
        """The items nearest to the query within the tenant, best first. Raises MemoryUnavailable, UpstreamFailed.

        SomaBrain cannot favour one session, so `session_id` only breaks ties.
        """
        sent = {"query": query, "top_k": limit, "layer": self._layer, "tenant": tenant_id, "namespace": self._namespace}
        said = await self._post("recall", tenant_id, sent)
        if not isinstance(said.get("results"), list):
            self._breaker.failed()
            raise _nonsense()
        self._breaker.answered()
        degraded = [_code(reason) for reason in as_list(said.get("degraded_reasons")) if isinstance(reason, str)]
        if said.get("degraded") is True and not degraded:
            degraded.append("unnamed")
        best: dict[str, tuple[Recalled, bool]] = {}
        for result in as_list(said["results"]):
            working = as_object(result).get("layer") == "wm"
            found = self._result(as_object(result), tenant_id)
            if found is None:
                # Working memory is not kept to a namespace, so there a stranger is no sign of a fault.
                if not working and FOREIGN_RESULT not in degraded:
                    degraded.append(FOREIGN_RESULT)
                continue
            if working:
                found = found.model_copy(update={"score": _likeness(query, found.text)})
                if not found.score:
                    continue
            own = as_object(as_object(result).get("content")).get("session_id") == session_id
            if found.key not in best or best[found.key][0].score < found.score:
                best[found.key] = (found, own)
        ranked = sorted(best.values(), key=lambda pair: (-pair[0].score, not pair[1], pair[0].key))
        return Recollection(items=tuple(item for item, _ in ranked[:limit]), degraded=tuple(degraded))

    def _prefix(self, tenant_id: str) -> str:
        return f"{tenant_id}/{self._namespace}/"

    def _result(self, result: dict[str, Any], tenant_id: str) -> Recalled | None:
        """A result that is certainly the tenant's own; None for any other, and for one without a text."""
        content = as_object(result.get("content"))
        tenants = {content[name] for name in ("tenant", "tenant_id") if isinstance(content.get(name), str)}
        key, text = as_text(content.get("key")), as_text(content.get("text"))
        if tenants != {tenant_id} or content.get("namespace") != self._namespace or key is None or text is None:
            return None
        if not key.startswith(self._prefix(tenant_id)):
            return None
        return Recalled(key=key.removeprefix(self._prefix(tenant_id)), text=text, score=_score(result.get("score")))

    async def _post(self, call: str, tenant_id: str, body: dict[str, Any]) -> dict[str, Any]:
        """The members of a 200; an empty dict when it has none."""
        self._breaker.check()
        headers = {
            "X-Tenant-ID": tenant_id,
            "X-Namespace": self._namespace,
            "X-Request-ID": uuid7().hex,
            "X-Actor": ACTOR,
        }
        try:
            answer = await exchange(
                self._client,
                "POST",
                f"{self._root}/{call}",
                seconds=self._seconds,
                headers=headers,
                body=pydantic_core.to_json(body),
            )
        except Broken as error:
            self._breaker.failed()
            raise MemoryUnavailable(f"SomaBrain failed ({error}); see that SOMABRAIN_URL names a running one.") from error
        if answer.status == 200:
            return as_object(answer.json())
        raise self._failure(answer)

    def _failure(self, answer: Answer) -> MemoryUnavailable | UpstreamFailed:
        status = answer.status
        if status >= 500 or status in _TRY_AGAIN:
            self._breaker.failed()
            wait = retry_after_seconds(answer.headers.get("retry-after"))
            return MemoryUnavailable(f"SomaBrain answered HTTP {status}; try again later.", retry_after=wait)
        self._breaker.answered()
        if status in (401, 403):
            return UpstreamFailed(
                f"SomaBrain refused the token (HTTP {status}); check SOMABRAIN_TOKEN, and that SomaBrain's API and memory tokens "
                "are the same."
            )
        return UpstreamFailed(f"SomaBrain refused the request (HTTP {status}); check SOMABRAIN_URL and SOMABRAIN_API_PREFIX.")


def _nonsense() -> MemoryUnavailable:
    return MemoryUnavailable("SomaBrain answered with something that is no answer to the request; check SOMABRAIN_URL.")


def _code(warning: str) -> str:
    """A warning without its free text, which may quote what was sent: results of activities stand in histories."""
    for known in (QUEUED_FOR_REPLAY, QUEUED_ASYNC):
        if warning.startswith(known):
            return known
    first = warning.partition(":")[0].strip()
    return first if _CODE.fullmatch(first) else "unnamed"


def _score(value: Any) -> float:
    """A similarity, brought into 0..1; 0 for what is no number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return 0.0
    return min(max(float(value), 0.0), 1.0)


def _likeness(query: str, text: str) -> float:
    """Share of the query's telling words that the text has."""
    wanted = set(content_words(query))
    return len(wanted & set(content_words(text))) / len(wanted) if wanted else 0.0
