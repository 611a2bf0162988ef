"""The embedded Temporal: the dev server with its web UI and a SQLite file.

WAL with `synchronous=normal` can lose the last commits when the machine loses power, never when the process is killed.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from domain.names import SearchAttribute
from workers.embedded.binaries import child_environment, script
from workers.embedded.files import make_private
from workers.embedded.part import Part
from workers.embedded.ports import LOOPBACK

NAMESPACE = "default"

DYNAMIC_CONFIG: Mapping[str, str] = {
    # With one history shard the defaults (20 per second) quantise every task hop to 50 ms.
    "history.transferProcessorMaxPollRPS": "100000",
    "history.timerProcessorMaxPollRPS": "100000",
    "matching.useNewMatcher": "true",
    "matching.enableFairness": "true",
    # Priority and fairness order is exact with one partition only.
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
}
TIME_SKIPPING: Mapping[str, str] = {"frontend.WorkflowTimeSkippingEnabled": "true"}


@dataclass(frozen=True)
class Temporal:
    """One server whose file is `home/temporal/temporal.db`; `extra_config` are further dynamic configuration values (JSON)."""

    home: Path
    port: int
    http_port: int
    ui_port: int
    metrics_port: int
    codec_endpoint: str | None = None
    extra_config: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def file(self) -> Path:
        """The SQLite file."""
        return self.home / "temporal" / "temporal.db"

    @property
    def address(self) -> str:
        """Where its gRPC frontend listens."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def ui_url(self) -> str:
        """Its web UI."""
        return f"http://{LOOPBACK}:{self.ui_port}"

    def prepare(self) -> None:
        """Make the directory. Raises OSError."""
        make_private(self.file.parent)

    def part(self) -> Part:
        """The server's process."""
        argv = [str(script("temporal")), "server", "start-dev", "--ip", LOOPBACK, "--db-filename", str(self.file)]
        argv += ["--port", str(self.port), "--http-port", str(self.http_port), "--ui-port", str(self.ui_port)]
        argv += ["--metrics-port", str(self.metrics_port), "--namespace", NAMESPACE, "--ui-disable-news-fetch"]
        argv += ["--sqlite-pragma", "journal_mode=WAL", "--sqlite-pragma", "synchronous=normal"]
        argv += ["--log-level", "error", "--log-format", "json"]
        if self.codec_endpoint:
            argv += ["--ui-codec-endpoint", self.codec_endpoint]
        for attribute in SearchAttribute:
            argv += ["--search-attribute", f"{attribute.value}=Keyword"]
        for key, value in {**DYNAMIC_CONFIG, **self.extra_config}.items():
            argv += ["--dynamic-config-value", f"{key}={value}"]
        return Part(
            name="temporal",
            argv=tuple(argv),
            env=child_environment(),
            cwd=self.file.parent,
            ready=self._answers,
            addresses={"temporal": self.address, "temporal-ui": self.ui_url},
            start_seconds=120.0,
        )

    def _answers(self) -> bool:
        """Whether the namespace is served and knows our search attributes. Asked over its HTTP API: a gRPC client costs 60 MB."""
        answer = _get_json(self.http_port, f"/api/v1/namespaces/{NAMESPACE}/search-attributes")
        known = answer.get("customAttributes", {})
        return all(attribute.value in known for attribute in SearchAttribute)


def _get_json(port: int, path: str) -> dict[str, Any]:
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=1.0)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        return json.loads(body) if response.status == 200 else {}
    except (OSError, http.client.HTTPException, ValueError):
        return {}
    finally:
        connection.close()
