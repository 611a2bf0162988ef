"""From a vendor's refusal to one of our errors. The vendor's words may hold the prompt: they help to tell which, no more."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from adapters.bounded_http import Answer, Broken, TooSlow, Unreachable, as_list, as_object, as_text
from adapters.retry_after import LONGEST_SECONDS, retry_after_seconds
from domain.errors import (
    DomainError,
    ModelBadRequest,
    ModelContentFiltered,
    ModelContextExceeded,
    ModelKeyRefused,
    ModelOverloaded,
    ModelRateLimited,
    ModelRefused,
    ModelStreamBroken,
    ModelTimedOut,
    UnsupportedByModel,
)

_KEY: Final = frozenset(
    (
        *(
            "invalid_api_key",
            "api_key_invalid",
            "authentication_error",
            "unauthenticated",
            "permission_error",
            "permission_denied",
            "failed_precondition",
        ),
        *("insufficient_quota", "billing_error", "billing_hard_limit_reached", "billing_not_active", "account_deactivated"),
        *("contract_spend_limit_reached", "enforced_spend_limit_reached", "organization_on_hold"),
    )
)
_FILTER: Final = frozenset(("content_filter", "content_policy_violation", "responsibleaipolicyviolation", "moderation_blocked"))
_SETTING: Final = frozenset(("unsupported_parameter", "unsupported_value"))
_CONTEXT: Final = frozenset(("context_length_exceeded", "exceed_context_size_error", "request_too_large"))
# In an answer that has begun there is no status any more, and these stand for one.
_STATUSES: Final = {
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "resource_exhausted": 429,
    "timeout_error": 504,
    "deadline_exceeded": 504,
    "overloaded_error": 529,
    "server_error": 500,
    "api_error": 500,
    "internal": 500,
    "internal_server_error": 500,
    "unavailable": 503,
}
# Some name these three by their words alone.
_KEY_WORDS: Final = ("credit balance is too low", "api usage limits")
_FILTER_WORDS: Final = ("content filtering policy",)
_CONTEXT_WORDS: Final = (
    *("maximum context length", "prompt is too long", "context window", "context size", "context length"),
    *("input token count", "input is too long", "request payload size exceeds"),
)
_PARAM: Final = re.compile(r"[A-Za-z0-9_.\[\]-]{1,64}")
_MILLISECONDS: Final = re.compile(r"[0-9]{1,9}")
_DELAY: Final = re.compile(r"[0-9]{1,6}(\.[0-9]{1,9})?s")


@dataclass(frozen=True)
class Problem:
    """What a vendor's error says: codes and words in lower case, the parameter at fault, a pause in seconds."""

    codes: frozenset[str]
    words: str
    param: str | None
    delay: float | None


def _details(error: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """An error's own details: Anthropic's object, Azure's inner error, Google's list."""
    yield error
    yield as_object(error.get("details"))
    yield as_object(error.get("innererror"))
    yield from map(as_object, as_list(error.get("details")))


def problem_of(body: Any) -> Problem:
    """The problem in the body of an error, whichever vendor's; an empty one where there is none."""
    whole = as_object(body) or as_object(next(iter(as_list(body)), None))
    error = as_object(whole.get("error")) or whole
    parts = list(_details(error))
    named = (part.get(member) for part in parts for member in ("code", "type", "status", "reason", "error_code"))
    delays = (as_text(part.get("retryDelay")) or "" for part in parts)
    param = as_text(error.get("param"))
    return Problem(
        codes=frozenset(name.lower() for name in named if isinstance(name, str)),
        words=(as_text(error.get("message")) or as_text(whole.get("error")) or "").lower(),
        param=param if param and _PARAM.fullmatch(param) else None,
        delay=next((min(float(delay[:-1]), LONGEST_SECONDS) for delay in delays if _DELAY.fullmatch(delay)), None),
    )


def refused(provider: str, answer: Answer) -> DomainError:
    """The error of an answer with a status other than 200."""
    problem = problem_of(answer.json())
    wait = _milliseconds(answer.headers.get("retry-after-ms"))
    if wait is None:
        wait = retry_after_seconds(answer.headers.get("retry-after"))
    if wait is None and problem.delay is not None:
        wait = problem.delay
    named = _named(provider, problem, worded=answer.status == 400) if 400 <= answer.status < 500 else None
    return named or _by_status(provider, answer.status, problem, wait)


def refused_midway(provider: str, body: Any, *, begun: bool) -> DomainError:
    """The error of an event that says the answer failed. Once it has begun nobody knows whether it is billed."""
    problem = problem_of(body)
    status = next((_STATUSES[code] for code in problem.codes if code in _STATUSES), None)
    error = _named(provider, problem, worded=False) or (_by_status(provider, status, problem, problem.delay) if status else None)
    if begun or error is None:
        return ModelStreamBroken(f"Provider {provider} broke its answer off with an error; try again.")
    return error


def broken(provider: str, error: Broken) -> DomainError:
    """The error of an exchange that did not come to its end."""
    if isinstance(error, Unreachable):
        return ModelOverloaded(
            f"Provider {provider} failed: {error}; see that its base_url (or MODEL_BASE_URL) names a running endpoint."
        )
    if isinstance(error, TooSlow):
        return ModelTimedOut(f"Provider {provider} failed: {error}; try again later, or raise its timeout_seconds.")
    return ModelStreamBroken(f"Provider {provider} failed: {error}; try again.")


def nonsense(provider: str, what: str) -> ModelStreamBroken:
    """The error of an answer that is no answer; `what` finishes the sentence."""
    return ModelStreamBroken(f"Provider {provider} answered {what}; try again.")


def _named(provider: str, problem: Problem, *, worded: bool) -> DomainError | None:
    """The error that the vendor names where its status says less; by its words too if `worded`."""
    words = problem.words if worded else ""
    if problem.codes & _KEY or _any(_KEY_WORDS, words):
        return ModelKeyRefused(f"Provider {provider} does not take the key, or its account is used up; check key and account.")
    if problem.codes & _FILTER or _any(_FILTER_WORDS, words):
        return ModelContentFiltered(f"Provider {provider} refused the request by its own content filter; ask in other words.")
    if problem.codes & _SETTING:
        return UnsupportedByModel(
            f"The model of provider {provider} does not take {problem.param or 'a setting'} as it was sent; leave it out or ask "
            "another model.",
            **_members(problem),
        )
    if problem.codes & _CONTEXT or _any(_CONTEXT_WORDS, words):
        return ModelContextExceeded(f"The request is longer than the model of provider {provider} takes; send less text.")
    return None


def _by_status(provider: str, status: int, problem: Problem, wait: float | None) -> DomainError:
    said = f"Provider {provider} answered HTTP {status}"
    match status:
        case 401 | 402 | 403:
            return ModelKeyRefused(f"{said}: it does not take the key, or its account is used up; check key and account.")
        case 404:
            return ModelRefused(f"{said}: it knows no such model or path; check base_url and the model's name.")
        case 408 | 504 | 524:
            return ModelTimedOut(f"{said}: it was not ready in time; try again later.", retry_after=wait)
        case 413:
            return ModelContextExceeded(f"{said}: it takes no request of this size; send fewer or shorter texts.")
        case 429:
            return ModelRateLimited(f"{said}: its rate limit is used up; try again later.", retry_after=wait)
        case 400 | 422:
            return ModelBadRequest(f"{said}: it calls the request malformed.", **_members(problem))
        case _ if status in (409, 425) or status >= 500:
            return ModelOverloaded(f"{said}; try again later.", retry_after=wait)
        case _ if 300 <= status < 400:
            return ModelRefused(f"{said}, a redirect, which is never followed; set base_url to where it leads, if you trust it.")
        case _:
            return ModelRefused(f"{said} and refused the request; check its base_url.")


def _members(problem: Problem) -> dict[str, Any]:
    """What the error tells beside its sentence."""
    return {"param": problem.param} if problem.param else {}


def _any(phrases: tuple[str, ...], words: str) -> bool:
    return any(phrase in words for phrase in phrases)


def _milliseconds(header: str | None) -> float | None:
    """OpenAI's finer Retry-After, in seconds; None where it is absent or no number."""
    return min(int(header) / 1000, LONGEST_SECONDS) if header and _MILLISECONDS.fullmatch(header) else None
