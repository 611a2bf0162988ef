"""The guide that the tour asks about tells of the product as it is."""

from __future__ import annotations

import re

from activities.slm import HEARTBEAT_SECONDS
from domain.documents import MAX_DOCUMENT_BYTES
from runtime.settings import Settings
from workers.embedded.watch import FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS
from workers.tour.stage import GUIDE
from workflows.options import MODEL
from workflows.sessions import MAX_QUEUED

TEXT = re.sub(r"\s+", " ", GUIDE.read_text(encoding="utf-8"))


def test_its_figures_are_the_settings_and_constants_in_force() -> None:
    fields = Settings.model_fields
    assert MODEL["heartbeat_timeout"] is not None
    assert (FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS) == (0.1, 10.0)
    assert (HEARTBEAT_SECONDS, MODEL["heartbeat_timeout"].total_seconds(), MODEL["retry_policy"].maximum_attempts) == (1, 4, 6)
    for sentence in (
        f"The gateway listens on port {fields['gateway_port'].default} ",
        f"The gateway's metrics are on port {fields['gateway_admin_port'].default}, the worker's on port "
        f"{fields['worker_admin_port'].default} and the relay's on port {fields['relay_admin_port'].default}.",
        f"Up to {MAX_QUEUED} messages wait in its queue",
        f"hears nothing for {fields['session_idle_seconds'].default // 3600} hours closes itself",
        f"HTML of at most {MAX_DOCUMENT_BYTES // 2**20} MiB",
        f"nobody answers within {fields['approval_timeout_seconds'].default // 3600} hours",
        f"An access token lives for {fields['token_lifetime_seconds'].default // 60} minutes",
        "sends a heartbeat every second, and four seconds without one",
        "at most six times",
        "at first after a tenth of a second and after ten seconds at the longest",
    ):
        assert sentence in TEXT, sentence
