"""The `soma` command: one app, one file per feature.

Feature files import what is heavy inside their commands, so that `soma --help` and shell completion stay quick.
"""

from __future__ import annotations

import gc
import sys
import time
from typing import Any

import typer

from domain.errors import DomainError, InvalidRequest, Unavailable
from workers.cli import (
    approval,
    backup,
    bootstrap,
    budget,
    client,
    decision,
    doctor,
    document,
    drill,
    gateway,
    key,
    kill_switch,
    ledger,
    login,
    logs,
    migrate,
    policy,
    relay,
    revocation,
    role,
    secret,
    session,
    signing_key,
    stack,
    status,
    tenant,
    token,
    tour,
    usage,
    user,
    worker,
)
from workers.cli.environment import FAILED, NOT_RUNNING, USAGE, complain, use_stack_environment

# These manage the stack itself: they must see the operator's environment, not what the stack made of it.
_MANAGING = frozenset({"up", "down", "status", "doctor", "logs", "backup", "restore"})

app = typer.Typer(
    name="soma",
    help="SomaGent: AI agents as durable workflows.",
    epilog=(
        "Exit codes: 0 done, 1 failed, 2 called wrongly, 3 the stack or a server it needs does not run. "
        "SOMA_HOME (default .soma) is where the embedded stack keeps its data."
    ),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Its markup costs half a second of imports on every call for help.
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def start(context: typer.Context) -> None:
    """SomaGent: AI agents as durable workflows."""
    if context.invoked_subcommand not in _MANAGING:
        use_stack_environment()


_FEATURES = (
    *(stack, status, logs, doctor, migrate, bootstrap, backup),
    *(tour, token, login, revocation, signing_key, secret, key, client, role, tenant, user),
    *(kill_switch, approval, drill, policy, document, session, decision),
    *(budget, usage, ledger),
    *(gateway, worker, relay),
)
for _feature in _FEATURES:
    _feature.register(app)


def main() -> None:
    """Run the command line; every expected error becomes one sentence on stderr and an exit code."""
    try:
        app()
    except DomainError as error:
        complain(error.detail)
        sys.exit(_code(error))
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        complain(f"{error.strerror or type(error).__name__}{where}; run `soma doctor`.")
        sys.exit(FAILED)
    except ValueError as error:
        details = _settings_at_fault(error)
        if details is None:
            raise
        complain(details)
        sys.exit(USAGE)
    finally:
        if "temporalio.bridge.runtime" in sys.modules:
            # A short-lived process that used the SDK can abort at exit while its threads still hold Python objects.
            gc.collect()
            time.sleep(0.2)


def _code(error: DomainError) -> int:
    if isinstance(error, InvalidRequest):
        return USAGE
    return NOT_RUNNING if isinstance(error, Unavailable) else FAILED


def _settings_at_fault(error: ValueError) -> str | None:
    """The variables a ValidationError of the settings names; None for any other error."""
    from pydantic import ValidationError

    if not isinstance(error, ValidationError) or error.title != "Settings":
        return None
    faults: list[dict[str, Any]] = [dict(fault) for fault in error.errors(include_input=False, include_url=False)]
    named = "; ".join(f"{'.'.join(map(str, fault['loc'])).upper()}: {fault['msg']}" for fault in faults)
    return f"The environment cannot be used: {named}."


if __name__ == "__main__":
    main()
