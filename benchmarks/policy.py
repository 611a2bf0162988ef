"""What a policy decision costs in a process: `make bench`.

200 policies, parsed before, with the schema on; beside plain calls of the same library over the same policies. Nothing here fails
for being slow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import cedarpy

from adapters.cedar.engine import CedarEngine
from adapters.cedar.policies import SCHEMA
from benchmarks.policy_results import PolicyReport, PolicyTimes
from benchmarks.run import PAGE, POLICIES, say, this_run, write
from domain.actors import Actor
from domain.decisions import Facts, Verdict
from domain.names import Effect
from domain.policy_sets import PolicyLayers
from domain.ports.policy import PolicyQuestion

COUNT: Final = 200
ENTITIES: Final = 20
_PERMIT: Final = '@id("own") permit (principal, action, resource) when { resource.tenant == principal.tenant };'
_driver: Any = cedarpy


def policies(count: int) -> str:
    """One permit and forbids that look at every kind of fact, none of which holds."""
    conditions = (
        'context.persona == "p{0}"',
        "context.score > 1000 + {0}",
        '!(["a{0}", "local"].contains(context.region))',
        'context.categories.contains("c{0}")',
        'principal.tenant == "t{0}" || context.turn > 100000 + {0}',
    )
    forbids = [
        f'@id("f{number}") @reason("r") forbid (principal, action, resource) '
        f"when {{ {conditions[number % len(conditions)].format(number)} }};"
        for number in range(1, count)
    ]
    return "\n".join((_PERMIT, *forbids))


def question(*effects: Effect) -> PolicyQuestion:
    """An ordinary one."""
    return PolicyQuestion(
        actor=Actor(tenant_id="demo", subject="someone", client_id="cli_1", scopes=("session:start", "session:send"), jti="j"),
        actions=tuple(effect.value for effect in effects),
        resource="ses_1",
        facts=Facts(text_bytes=2_000, documents=3, turn=7, model_role="dialogue_reasoning"),
        score=90,
        region="local",
        categories=("secret",),
    )


def plain(text: str, count: int) -> Callable[[], object]:
    """One call of the library, with that many entities."""
    parsed = cedarpy.PolicySet.from_str(text)
    asked = question(Effect.SESSION_START)
    client, user, session = (
        {"type": f"Soma::{kind}", "id": id_}
        for kind, id_ in (("Client", "cli_1"), ("User", "demo/someone"), ("Session", "ses_1"))
    )
    tenant = {"tenant": "demo"}
    entities = [
        {"uid": client, "attrs": tenant, "parents": []},
        {"uid": user, "attrs": tenant, "parents": [client]},
        {"uid": session, "attrs": tenant, "parents": []},
        *({"uid": session | {"id": f"other_{number}"}, "attrs": tenant, "parents": []} for number in range(count - 3)),
    ]
    request = {
        "principal": user,
        "action": {"type": "Soma::Action", "id": "session:start"},
        "resource": session,
        "context": asked.facts.model_dump()
        | {
            "score": asked.score,
            "region": asked.region,
            "scopes": list(asked.actor.scopes),
            "client": asked.actor.client_id,
            "categories": list(asked.categories),
        },
    }

    def call() -> object:
        return _driver.is_authorized(request, parsed, entities, schema=SCHEMA).allowed

    if call() is not True:
        raise RuntimeError("The plain call does not permit.")
    return call


def ours(layers: PolicyLayers, *effects: Effect) -> Callable[[], object]:
    """A decision of the engine."""
    engine, asked = CedarEngine(), question(*effects)
    if engine.evaluate(layers, asked).verdict is not Verdict.ALLOW:
        raise RuntimeError("The engine does not permit.")
    return lambda: engine.evaluate(layers, asked)


def cases() -> dict[str, Callable[[], object]]:
    """What is measured, by name; the first is what the others are compared with."""
    whole, half = policies(COUNT), policies(COUNT // 2)
    every = tuple(Effect)
    return {
        f"plain call, {ENTITIES} entities": plain(whole, ENTITIES),
        "plain call, 3 entities": plain(whole, 3),
        "ours, one effect": ours(PolicyLayers(constitution=whole), Effect.SESSION_START),
        "ours, one effect, two layers of 100": ours(PolicyLayers(constitution=half, tenant=half), Effect.SESSION_START),
        "ours, five effects": ours(PolicyLayers(constitution=whole), *every),
    }


def measure(calls: int, runs: int) -> tuple[PolicyTimes, ...]:
    """All cases in turns, so that what the machine does meanwhile meets them all."""
    made = cases()
    taken: dict[str, list[float]] = {name: [] for name in made}
    for call in made.values():
        for _ in range(min(calls, 50)):
            call()
    for _ in range(runs):
        for name, call in made.items():
            for _ in range(calls):
                began = time.perf_counter()
                call()
                taken[name].append((time.perf_counter() - began) * 1000)
    return tuple(PolicyTimes.of(name, times) for name, times in taken.items())


def main() -> None:
    """Reads the sizes, runs, writes JSON and page."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--calls", type=int, default=500, help="calls of each case in a run")
    parser.add_argument("--runs", type=int, default=5, help="runs, in turns")
    parser.add_argument("--json", type=Path, default=POLICIES, help="where the figures go")
    parser.add_argument("--page", type=Path, default=PAGE, help="where the page goes")
    chosen = parser.parse_args()
    report = PolicyReport(
        **dict(this_run()), policies=COUNT, calls=chosen.calls * chosen.runs, times=measure(chosen.calls, chosen.runs)
    )
    for each in report.times:
        say(f"{each.name}: p50 {each.p50_ms:.3f} ms, p95 {each.p95_ms:.3f} ms")
    write(report, chosen.json, chosen.page, policies=chosen.json)


if __name__ == "__main__":
    main()
