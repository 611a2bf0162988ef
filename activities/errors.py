"""Our errors as Temporal's: the type and whether it may be retried come from the error, the sentence is ours."""

from __future__ import annotations

import traceback
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory, FailureError

from domain.errors import DomainError


def as_failure(error: DomainError, *, final: bool = False) -> ApplicationError:
    """The failure of an activity. What may be retried carries the vendor's own pause where it named one; `final` forbids it.

    The error's members, which hold no text, become the failure's details.
    """
    return ApplicationError(
        error.detail,
        *([error.members] if error.members else []),
        type=error.type,
        non_retryable=final or not error.retryable,
        next_retry_delay=timedelta(seconds=error.retry_after) if error.retryable and error.retry_after else None,
        category=ApplicationErrorCategory.UNSPECIFIED if error.status >= 500 else ApplicationErrorCategory.BENIGN,
    )


@contextmanager
def translate_errors() -> Generator[None]:
    """Raises an ApplicationError for every error within; a cancellation and a failure made before pass.

    The cause stays out of it: it may quote a text. Of an error that is not ours only the class and the place are kept, and it is
    retried, since it may be the state of something outside.
    """
    try:
        yield
    except DomainError as error:
        raise as_failure(error) from None
    except FailureError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, its words must not reach a history
        kind, place = type(error).__name__, _place(error)
        activity.logger.error("activity failed: %s at %s", kind, place)
        raise ApplicationError(f"An internal error ({kind}) at {place}.", type=DomainError.type) from None


def _place(error: Exception) -> str:
    """File and line the error was raised at."""
    frames = traceback.extract_tb(error.__traceback__)
    return f"{frames[-1].filename.rpartition('/')[2]}:{frames[-1].lineno}" if frames else "an unknown place"
