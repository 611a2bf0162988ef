"""One Temporal client a process, from Temporal's own profiles and environment variables."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from temporalio.client import Client
from temporalio.envconfig import ClientConfig

from domain.errors import DependencyUnavailable
from runtime.plugin import somagent_plugin
from runtime.settings import Settings


async def connect(settings: Settings, *, lazy: bool = False, sandbox: bool = True, wait_seconds: float = 60.0) -> Client:
    """A client with our plugin. Tries again with growing pauses for `wait_seconds`; raises DependencyUnavailable after.

    A lazy client connects with its first call, so that a gateway starts while Temporal is down.
    """
    config = ClientConfig.load_client_connect_config()
    plugin = somagent_plugin(settings.codec_key_file, sandbox=sandbox)
    deadline, pause = asyncio.get_running_loop().time() + wait_seconds, 0.1
    while True:
        try:
            return await Client.connect(**config, plugins=[plugin], lazy=lazy, connect_timeout=timedelta(seconds=5))
        except (RuntimeError, OSError) as error:
            if asyncio.get_running_loop().time() + pause > deadline:
                address = config.get("target_host", "localhost:7233")
                raise DependencyUnavailable(
                    f"Temporal does not answer at {address}; start it, or set TEMPORAL_ADDRESS."
                ) from error
            await asyncio.sleep(pause)
            pause = min(pause * 2, 2.0)
