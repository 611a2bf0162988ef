"""`soma budget`: caps on what model calls may use."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Any, Final

import typer

from domain.errors import InvalidRequest
from domain.names import TOKENS, BudgetScope
from workers.cli.environment import show_json
from workers.cli.options import TENANT, AfterOption, JsonOption, KeyOption, LimitOption, TenantOption

_MICROS: Final = 1_000_000
_AMOUNT: Final = re.compile(r"[0-9]{1,16}(\.[0-9]{1,6})?")

_budgets = typer.Typer(help="Set, list and show budgets.", no_args_is_help=True, rich_markup_mode=None)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(_budgets, name="budget")


@_budgets.command(name="set")
def set_(
    cap: Annotated[str, typer.Argument(metavar="CAP", help="Tokens, or an amount of the currency such as 12.50.")],
    unit: Annotated[str, typer.Option("--unit", help="tokens, or a currency such as USD.")] = TOKENS,
    scope: Annotated[BudgetScope, typer.Option("--scope", help="What is bounded.")] = BudgetScope.TENANT,
    scope_id: Annotated[
        str | None, typer.Option("--id", help="Which session, project, installation or delegated token (its jti).")
    ] = None,
    key: KeyOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Make a budget, or change the cap of the one that this scope and unit have.

    Example: soma budget set 12.50 --unit USD

    Exit codes: 0 set, 1 refused because more is settled and reserved, 2 called wrongly, 3 no gateway answers.
    """
    from workers.cli.gateway_client import new_key, open_gateway

    body = {"scope": scope.value, "scope_id": scope_id, "unit": unit, "cap": amount(cap, unit)}
    with open_gateway(tenant, as_json=json) as gateway:
        found = gateway.post("/v1/budgets", body, key=key or new_key())
    if json:
        show_json(found)
    else:
        _show(found)


@_budgets.command(name="list")
def list_(
    scope: Annotated[BudgetScope | None, typer.Option("--scope", help="Only of this scope.")] = None,
    scope_id: Annotated[
        str | None, typer.Option("--id", help="Only of this session, project, installation or delegated token.")
    ] = None,
    limit: LimitOption = 50,
    after: AfterOption = None,
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """List the tenant's budgets, newest first. Example: soma budget list --scope session"""
    from workers.cli.display import show_table
    from workers.cli.gateway_client import open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        page = gateway.get("/v1/budgets", limit=limit, after=after, scope=scope.value if scope else None, scope_id=scope_id)
    if json:
        show_json(page)
        return
    rows = ((each["budget_id"], each["scope"], each["scope_id"], *_amounts(each)) for each in page["budgets"])
    show_table(("id", "scope", "of", "unit", "cap", "settled", "reserved", "left", "overrun"), rows, more=page["next"])


@_budgets.command()
def show(
    budget_id: Annotated[str, typer.Argument(metavar="ID", help="bud_…")],
    tenant: TenantOption = TENANT,
    json: JsonOption = False,
) -> None:
    """Show one budget. Example: soma budget show bud_…"""
    from workers.cli.gateway_client import at, open_gateway

    with open_gateway(tenant, as_json=json) as gateway:
        found = gateway.get(at("/v1/budgets", budget_id))
    if json:
        show_json(found)
    else:
        _show(found)


def amount(text: str, unit: str) -> int:
    """Tokens, or micro-units of a currency. Raises InvalidRequest for what is no such amount."""
    if _AMOUNT.fullmatch(text) is None or (unit == TOKENS and "." in text):
        raise InvalidRequest(
            "A cap is a whole number of tokens, or an amount of a currency with at most six decimals, such as 12.50."
        )
    return int(text) if unit == TOKENS else int(Decimal(text) * _MICROS)


def written(value: int, unit: str) -> str:
    """The amount as `amount` reads it, with at least two decimals where it is money."""
    if unit == TOKENS:
        return str(value)
    whole, micros = divmod(value, _MICROS)
    return f"{whole}.{f'{micros:06d}'.rstrip('0').ljust(2, '0')}"


def _amounts(budget: dict[str, Any]) -> tuple[str, ...]:
    unit = budget["unit"]
    left = budget["cap"] - budget["settled"] - budget["reserved"]
    numbers = (budget["cap"], budget["settled"], budget["reserved"], left, budget["overrun"])
    return (unit, *(written(number, unit) for number in numbers))


def _show(budget: dict[str, Any]) -> None:
    from workers.cli.display import moment, show_facts

    unit, cap, settled, reserved, left, overrun = _amounts(budget)
    show_facts(
        (
            ("budget", budget["budget_id"]),
            (budget["scope"], budget["scope_id"]),
            ("cap", f"{cap} {unit}"),
            ("settled", settled),
            ("reserved", reserved),
            ("left", left),
            ("overrun", f"{overrun}, of which {written(budget['uncovered'], unit)} the cap had no room for"),
            ("exhausted", "a call was refused under this cap" if budget["exhausted"] else None),
            ("cap set (UTC)", moment(budget["updated_at"])),
        )
    )
