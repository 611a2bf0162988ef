"""The tour: the product shown at work against the running stack, over HTTP as a user would use it."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from runtime.settings import Settings
from workers.cli.gateway_client import Gateway
from workers.embedded.credentials import DEMO_TENANT, credentials_file, read_credentials
from workers.tour.killed_worker import KILLED_WORKER
from workers.tour.left_events import EVENTS
from workers.tour.record import Step, TourRecord
from workers.tour.runs import Runs
from workers.tour.scenes import ANSWER, MODERATION, POLICY
from workers.tour.stage import Scene, Stage, perform

SCENES: Final = (ANSWER, MODERATION, POLICY, KILLED_WORKER, EVENTS)


def run_tour(home: Path, settings: Settings, *, begin: Callable[[Scene], None], end: Callable[[Step], None]) -> TourRecord:
    """Plays every scene, also after one that failed; `begin` and `end` are told each.

    Raises DependencyUnavailable when there is no gateway, no Temporal or no client to ask as.
    """
    began = time.monotonic()
    source = credentials_file(home, DEMO_TENANT)
    with Gateway(read_credentials(home, DEMO_TENANT), source) as gateway, Runs(settings) as runs:
        since = gateway.get("/v1/events", after="latest", limit=1)["next"]
        stage = Stage(gateway, runs, settings, home, since)
        for scene in SCENES:
            begin(scene)
            step = perform(scene, stage)
            stage.steps.append(step)
            end(step)
    return TourRecord(
        ok=all(step.seen for step in stage.steps), seconds=round(time.monotonic() - began, 1), steps=tuple(stage.steps)
    )
