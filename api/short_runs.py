"""A short run of the caller's tenant on the platform queue, to its end: how most writes are made."""

from __future__ import annotations

from typing import Any, TypeVar

from api.services import Services
from api.workflow_calls import run_to_end
from domain.actors import Actor
from domain.names import Feature, WorkflowName, workflow_id

Result = TypeVar("Result")


async def short_run(
    services: Services, actor: Actor, name: WorkflowName, feature: Feature, run: str, arg: Any, result: type[Result]
) -> Result:
    """The result of the run `{feature}/{tenant}/{run}`, which is started or found. Raises the error it failed with."""
    return await run_to_end(
        services.temporal,
        name=name,
        arg=arg,
        workflow_id=workflow_id(feature, actor.tenant_id, run),
        feature=feature,
        tenant_id=actor.tenant_id,
        region=services.settings.region,
        result=result,
    )
