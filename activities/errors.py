"""Our errors as Temporal's: the type and whether it may be retried come from the error, the sentence is ours."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from domain.errors import DomainError


def as_failure(error: DomainError) -> ApplicationError:
    """The failure of an activity. What may be retried carries the vendor's own pause where it named one."""
    return ApplicationError(
        error.detail,
        type=error.type,
        non_retryable=not error.retryable,
        next_retry_delay=timedelta(seconds=error.retry_after) if error.retryable and error.retry_after else None,
        category=ApplicationErrorCategory.UNSPECIFIED if error.status >= 500 else ApplicationErrorCategory.BENIGN,
    )


@contextmanager
def translate_errors() -> Generator[None]:
    """Raises an ApplicationError for every DomainError within. The cause stays out of it: it may quote a text."""
    try:
        yield
    except DomainError as error:
        raise as_failure(error) from None
