"""The one tree of errors. Each knows its wire type, its HTTP status and whether the same request may be sent again.

    DomainError
    ├── InvalidRequest 400 ── MissingIdempotencyKey 400, UnsupportedByModel 400
    ├── Unauthenticated 401 ── StaleConstitution 401
    ├── BudgetExhausted 402
    ├── Forbidden 403 ── InsufficientScope 403, Denied 403, RegionNotAllowed 403
    ├── NotFound 404 ── UnknownModel 404
    ├── MethodNotAllowed 405
    ├── Conflict 409 ── RequestInProgress 409 (retryable), SessionClosed 409
    ├── PreconditionFailed 412, PreconditionRequired 428
    ├── TooLarge 413
    ├── UnsupportedMediaType 415
    ├── Unprocessable 422 ── IdempotencyKeyReused, PolicyInvalid, PriceUnknown, ModelBlocked
    ├── TooManyRequests 429 (retryable) ── TooManyTurns 429
    ├── UpstreamFailed 502
    │   └── ModelRefused 502 ── ModelKeyRefused, ModelBadRequest, ModelContentFiltered, ModelContextExceeded
    └── Unavailable 503 (retryable) ── ConstitutionUnavailable, MemoryUnavailable, DependencyUnavailable,
        StoppedByKillSwitch (not retryable), KillSwitchUnreadable
        ├── SecretUnavailable 503 ── SecretMissing, SecretDenied, SecretStoreSealed, SecretStoreUnreachable
        └── ModelUnavailable 503 ── ModelRateLimited, ModelOverloaded, ModelTimedOut, ModelStreamBroken

`type` is the last part of the problem's URI and the `type` of the Temporal failure; neither is ever renamed.
"""

from __future__ import annotations

from typing import Any, ClassVar


class DomainError(Exception):
    """Base of all. `detail` is one sentence that says what is wrong and what to do; it never holds a secret or a text."""

    type: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal error"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str, *, retry_after: float | None = None, **members: Any) -> None:
        """`retry_after` is in seconds; `members` are extension members of the problem (RFC 9457)."""
        super().__init__(detail)
        self.detail = detail
        self.retry_after = retry_after
        self.members = members


class InvalidRequest(DomainError):
    """The request is malformed."""

    type, title, status = "invalid-request", "Invalid request", 400


class MissingIdempotencyKey(InvalidRequest):
    """A write that must carry an Idempotency-Key has none."""

    type, title = "missing-idempotency-key", "Idempotency-Key missing"


class UnsupportedByModel(InvalidRequest):
    """The request asks for what no model of its role can do; nothing was asked and nothing is owed."""

    type, title = "unsupported-by-model", "Unsupported by the model"


class Unauthenticated(DomainError):
    """No token, or one that does not verify."""

    type, title, status = "unauthenticated", "Not authenticated", 401


class StaleConstitution(Unauthenticated):
    """The token was issued under a constitution that is not in force any more; a fresh token is one call away."""

    type, title = "stale-constitution", "Constitution of the token is stale"


class BudgetExhausted(DomainError):
    """A budget has no room for the bound of a call. `budget_id`, `scope`, `unit` and `left` say which and how much is left."""

    type, title, status = "budget-exhausted", "Budget exhausted", 402


class Forbidden(DomainError):
    """The caller is known and may not."""

    type, title, status = "forbidden", "Forbidden", 403


class InsufficientScope(Forbidden):
    """The token lacks the scope the route needs."""

    type, title = "insufficient-scope", "Scope missing"


class Denied(Forbidden):
    """The gate refused; `reasons` say why."""

    type, title = "denied", "Denied by the gate"


class RegionNotAllowed(Forbidden):
    """The tenant may not be served in this process's region; another region's gateway may."""

    type, title = "region-not-allowed", "Region not allowed"


class NotFound(DomainError):
    """Unknown, or another tenant's: the two look the same."""

    type, title, status = "not-found", "Not found", 404


class UnknownModel(NotFound):
    """No such model or role is configured."""

    type, title = "unknown-model", "Unknown model"


class MethodNotAllowed(DomainError):
    """The address does not take this method."""

    type, title, status = "method-not-allowed", "Method not allowed", 405


class Conflict(DomainError):
    """The thing is in a state that does not allow this."""

    type, title, status = "conflict", "Conflict", 409


class RequestInProgress(Conflict):
    """The same Idempotency-Key is being worked on."""

    type, title, retryable = "request-in-progress", "Request in progress", True


class SessionClosed(Conflict):
    """The session takes no more messages."""

    type, title = "session-closed", "Session closed"


class PreconditionFailed(DomainError):
    """What was to be changed is no longer as the If-Match header says: somebody else changed it meanwhile. Read it again."""

    type, title, status = "precondition-failed", "Precondition failed", 412


class PreconditionRequired(DomainError):
    """A change of what others may change, too, must say which version it is of (RFC 6585): send the ETag as If-Match."""

    type, title, status = "precondition-required", "Precondition required", 428


class TooLarge(DomainError):
    """The body is larger than the route allows."""

    type, title, status = "too-large", "Too large", 413


class UnsupportedMediaType(DomainError):
    """The route does not read this media type."""

    type, title, status = "unsupported-media-type", "Unsupported media type", 415


class Unprocessable(DomainError):
    """Well-formed, and still not acceptable."""

    type, title, status = "unprocessable", "Unprocessable", 422


class IdempotencyKeyReused(Unprocessable):
    """The same Idempotency-Key came with another body."""

    type, title = "idempotency-key-reused", "Idempotency-Key reused"


class PolicyInvalid(Unprocessable):
    """Policies do not parse, do not fit the schema or lack an annotation; `faults` say which, and where."""

    type, title = "policy-invalid", "Policies cannot be used"


class PriceUnknown(Unprocessable):
    """A budget counts money, and the model's price is not known; MODEL_UNKNOWN_PRICE says what then happens."""

    type, title = "price-unknown", "Price unknown"


class ModelBlocked(Unprocessable):
    """The model used more than its bound before, so bounded budgets do not pay for it until somebody has reviewed that."""

    type, title = "model-blocked", "Model blocked"


class TooManyRequests(DomainError):
    """A rate limit is used up."""

    type, title, status, retryable = "too-many-requests", "Too many requests", 429, True


class TooManyTurns(TooManyRequests):
    """The session's queue of turns is full."""

    type, title = "too-many-turns", "Too many queued turns"


class UpstreamFailed(DomainError):
    """A third party answered nonsense or refused."""

    type, title, status = "upstream-failed", "Upstream failed", 502


class ModelRefused(UpstreamFailed):
    """The model endpoint refused the request for good: sending it again changes nothing."""

    type, title = "model-refused", "Model refused"


class ModelKeyRefused(ModelRefused):
    """The endpoint does not take our key, or its account has no money left."""

    type, title = "model-key-refused", "Model key refused"


class ModelBadRequest(ModelRefused):
    """The endpoint calls the request malformed."""

    type, title = "model-bad-request", "Model rejected the request"


class ModelContentFiltered(ModelRefused):
    """The endpoint's own filter withheld the answer."""

    type, title = "model-content-filtered", "Model withheld the answer"


class ModelContextExceeded(ModelRefused):
    """The request is longer than the model's context."""

    type, title = "model-context-exceeded", "Model context exceeded"


class Unavailable(DomainError):
    """Something we need is down; nothing was changed."""

    type, title, status, retryable = "unavailable", "Unavailable", 503, True


class DependencyUnavailable(Unavailable):
    """Postgres, Temporal or Redis does not answer."""

    type, title = "dependency-unavailable", "Dependency unavailable"


class ConstitutionUnavailable(Unavailable):
    """No constitution that verifies is to be had, so no new work starts."""

    type, title = "constitution-unavailable", "Constitution unavailable"


class StoppedByKillSwitch(Unavailable):
    """An operator stopped this. `switch_id` and `scope` say which switch; it stays so until the switch is released."""

    type, title, retryable = "kill-switch-engaged", "Kill switch engaged", False


class KillSwitchUnreadable(Unavailable):
    """The process does not know just now which kill switches are engaged, so it begins nothing."""

    type, title = "kill-switch-unreadable", "Kill switches unreadable"


class SecretUnavailable(Unavailable):
    """A secret that this needs is not to be had."""

    type, title = "secret-unavailable", "Secret unavailable"


class SecretMissing(SecretUnavailable):
    """The store has no secret of that name."""

    type, title = "secret-missing", "Secret missing"


class SecretDenied(SecretUnavailable):
    """The store does not let this process read the secret, or does not know the process."""

    type, title = "secret-denied", "Secret denied"


class SecretStoreSealed(SecretUnavailable):
    """The store is sealed: it holds the secret and cannot decrypt it."""

    type, title = "secret-store-sealed", "Secret store sealed"


class SecretStoreUnreachable(SecretUnavailable):
    """The store does not answer, or answers nonsense."""

    type, title = "secret-store-unreachable", "Secret store unreachable"


class MemoryUnavailable(Unavailable):
    """The memory service does not answer, or answers degraded where that is not enough."""

    type, title = "memory-unavailable", "Memory unavailable"


class ModelUnavailable(Unavailable):
    """The model endpoint is down, slow, limiting or broken off; trying again may help."""

    type, title = "model-unavailable", "Model unavailable"


class ModelRateLimited(ModelUnavailable):
    """The endpoint takes no more requests for now."""

    type, title = "model-rate-limited", "Model rate limited"


class ModelOverloaded(ModelUnavailable):
    """The endpoint is overloaded, failing or not to be reached."""

    type, title = "model-overloaded", "Model overloaded"


class ModelTimedOut(ModelUnavailable):
    """The endpoint did not answer in time; whether it did the work is not known."""

    type, title = "model-timed-out", "Model timed out"


class ModelStreamBroken(ModelUnavailable):
    """The answer broke off or cannot be read; whether it is billed is not known."""

    type, title = "model-stream-broken", "Model answer broken"


def _tree(root: type[DomainError]) -> dict[str, type[DomainError]]:
    found = {root.type: root}
    for child in root.__subclasses__():
        found |= _tree(child)
    return found


ERRORS: dict[str, type[DomainError]] = _tree(DomainError)
"""Every error class by its wire type."""
