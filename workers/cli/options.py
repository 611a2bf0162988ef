"""Options that several commands share, so that they read the same everywhere."""

from __future__ import annotations

from typing import Annotated, Final

import typer

TENANT: Final = "demo"

TenantOption = Annotated[str, typer.Option("--tenant", help="Ask as this tenant's admin client.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print what the gateway answered as JSON.")]
KeyOption = Annotated[
    str | None,
    typer.Option("--key", help="Idempotency-Key of the request. With that of an earlier call nothing is done twice."),
]
WaitOption = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the message is answered.")]
WithinOption = Annotated[float, typer.Option("--within", min=1, max=3600, help="Wait at most this long, in seconds.")]
LimitOption = Annotated[int, typer.Option("--limit", "-n", min=1, max=200, help="Show at most this many.")]
AfterOption = Annotated[str | None, typer.Option("--after", help="Show what comes after this id.")]
