"""Timeouts, retries, queues and search-attribute keys: the only place where they are written.

A local activity here records something in Postgres. It is retried for ever on purpose: a decision or a turn that cannot
be recorded has not happened, and the caller's request has a deadline of its own.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final, NotRequired, TypedDict

from temporalio.common import Priority, RetryPolicy, SearchAttributeKey, SearchAttributePair, TypedSearchAttributes
from temporalio.workflow import ActivityCancellationType

from domain.names import Feature, Lane, Queue, SearchAttribute


class LocalOptions(TypedDict):
    """Options of a local activity."""

    start_to_close_timeout: timedelta
    retry_policy: RetryPolicy
    local_retry_threshold: timedelta


class ActivityOptions(TypedDict):
    """Options of an activity on a queue."""

    task_queue: str
    start_to_close_timeout: timedelta
    schedule_to_close_timeout: timedelta | None
    heartbeat_timeout: timedelta | None
    retry_policy: RetryPolicy
    cancellation_type: ActivityCancellationType
    priority: NotRequired[Priority]


_FOR_EVER: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=100), backoff_coefficient=2.0, maximum_interval=timedelta(seconds=5)
)

RECORD: Final = LocalOptions(
    start_to_close_timeout=timedelta(seconds=10), retry_policy=_FOR_EVER, local_retry_threshold=timedelta(seconds=5)
)
"""One transaction in Postgres, with or without the gate's checks, which bound themselves to two seconds."""

QUEUE: Final = ActivityOptions(
    task_queue=Queue.INTERACTIVE.value,
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=None,
    heartbeat_timeout=None,
    retry_policy=_FOR_EVER,
    cancellation_type=ActivityCancellationType.TRY_CANCEL,
)
"""Recording what an update decided. Not a local activity: its task is speculative and may be run again in another order,
and what it did before would then contradict the history. Retried for ever: the message is taken once it is scheduled."""

MEMORY: Final = ActivityOptions(
    task_queue=Queue.INTERACTIVE.value,
    start_to_close_timeout=timedelta(seconds=5),
    schedule_to_close_timeout=timedelta(seconds=12),
    heartbeat_timeout=None,
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=2)),
    cancellation_type=ActivityCancellationType.TRY_CANCEL,
)
"""A turn waits for memory this long, then goes on without it and says so."""

MODEL: Final = ActivityOptions(
    task_queue=Queue.SLM.value,
    start_to_close_timeout=timedelta(minutes=11),
    schedule_to_close_timeout=timedelta(minutes=15),
    heartbeat_timeout=timedelta(seconds=4),
    retry_policy=RetryPolicy(
        initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=20), maximum_attempts=6
    ),
    cancellation_type=ActivityCancellationType.TRY_CANCEL,
)
"""One model call. Its worker's death shows after the heartbeat timeout; the provider's own timeout ends the call itself."""

_ONE_PROVIDER: Final = RetryPolicy(
    initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=20), maximum_attempts=2
)


def model_call(*, lane: Lane, tenant_id: str, weight: float, last: bool) -> ActivityOptions:
    """One provider of a model call: in the lane's queue, at the tenant's share, tried again once before the next model is
    asked and, where there is none, as often as MODEL says. Calls of the batch lane may wait for hours in their queue."""
    options = MODEL.copy()
    options["priority"] = Priority(priority_key=int(lane), fairness_key=tenant_id, fairness_weight=weight)
    if not last:
        options["retry_policy"] = _ONE_PROVIDER
    if lane is Lane.BATCH:
        options["task_queue"] = Queue.SLM_BATCH.value
        options["schedule_to_close_timeout"] = None
    return options


INGEST: Final = ActivityOptions(
    task_queue=Queue.PLATFORM.value,
    start_to_close_timeout=timedelta(seconds=60),
    schedule_to_close_timeout=timedelta(minutes=10),
    heartbeat_timeout=None,
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=200), maximum_interval=timedelta(seconds=5)),
    cancellation_type=ActivityCancellationType.TRY_CANCEL,
)
"""Reading the text of one document."""

WRITE: Final = INGEST.copy()
WRITE["start_to_close_timeout"] = timedelta(seconds=10)
"""One transaction in Postgres that somebody waits for: what a dead worker took is done by another within the request."""

LEDGER: Final = ActivityOptions(
    task_queue=Queue.PLATFORM.value,
    start_to_close_timeout=timedelta(minutes=5),
    schedule_to_close_timeout=timedelta(minutes=9),
    heartbeat_timeout=timedelta(seconds=30),
    retry_policy=RetryPolicy(initial_interval=timedelta(seconds=1), maximum_interval=timedelta(seconds=20)),
    cancellation_type=ActivityCancellationType.TRY_CANCEL,
)
"""Upkeep of the ledger: many small transactions, a heartbeat after each."""

ENFORCE: Final = ActivityOptions(
    task_queue=Queue.PLATFORM.value,
    start_to_close_timeout=timedelta(hours=24),
    schedule_to_close_timeout=None,
    heartbeat_timeout=timedelta(seconds=30),
    retry_policy=_FOR_EVER,
    cancellation_type=ActivityCancellationType.TRY_CANCEL,
    priority=Priority(priority_key=int(Lane.SAFETY)),
)
"""A step of a kill switch. Retried for ever: what is to be stopped is looked for until it is quiet."""
REPLAY: Final = ActivityOptions(
    task_queue=Queue.PLATFORM.value,
    start_to_close_timeout=timedelta(minutes=5),
    schedule_to_close_timeout=timedelta(hours=1),
    heartbeat_timeout=timedelta(seconds=15),
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=500), maximum_interval=timedelta(seconds=20)),
    cancellation_type=ActivityCancellationType.TRY_CANCEL,
)
"""A part of a replay: seconds of work, a heartbeat after each hundred decisions."""

KEPT_REQUESTS: Final = 1000
"""Request keys an entity remembers across continue-as-new."""

UPDATES_PER_RUN: Final = 1500
"""A run continues-as-new before the server's limit of 2,000 updates."""

SEARCH_ATTRIBUTES: Final = {name: SearchAttributeKey.for_keyword(name.value) for name in SearchAttribute}


def search_attributes(*, feature: Feature, tenant_id: str, lane: Lane, region: str, **more: str) -> TypedSearchAttributes:
    """Search attributes set at start; `more` takes SearchAttribute members by name, as `SESSION_ID="ses_…"`."""
    values = {
        SearchAttribute.TENANT_ID: tenant_id,
        SearchAttribute.FEATURE: feature.value,
        SearchAttribute.LANE: lane.name.lower(),
        SearchAttribute.REGION: region,
    } | {SearchAttribute[name]: value for name, value in more.items()}
    return TypedSearchAttributes([SearchAttributePair(SEARCH_ATTRIBUTES[name], value) for name, value in values.items()])


def priority(lane: Lane, tenant_id: str) -> Priority:
    """Lane as priority, tenant as fairness key."""
    return Priority(priority_key=int(lane), fairness_key=tenant_id)
