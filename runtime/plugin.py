"""The one plugin: converter, sandbox, failure types and tracing, given to the client; workers and replayers inherit it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.plugin import SimplePlugin
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import SandboxImportNotificationPolicy

from domain.errors import DomainError
from runtime.converter import data_converter

PASSTHROUGH: Final = (
    "domain",  # our words: frozen models and pure functions, the same object for every run
    "capsules",  # the capsule format, pure as well
    "pydantic",  # models are built in workflows; re-importing it costs a second
    "pydantic_core",
    "annotated_types",
    "typing_inspection",
    # Parts of workflows: no workflow is defined in them and no state stands in the modules; a test sees to it.
    "workflows.approvals",
    "workflows.gate",
    "workflows.model_calls",
    "workflows.options",
    "workflows.patches",
    "workflows.requests",
    "workflows.turns",
    "opentelemetry",  # the tracing interceptor runs in the sandbox; re-importing costs 40 ms a run
)


def sandboxed_runner() -> WorkflowRunner:
    """Workflows in the sandbox; a module that is not listed above fails the worker when it starts."""
    policy = (
        SandboxImportNotificationPolicy.WARN_ON_DYNAMIC_IMPORT
        | SandboxImportNotificationPolicy.RAISE_ON_UNINTENTIONAL_PASSTHROUGH
    )
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*PASSTHROUGH)
    return SandboxedWorkflowRunner(restrictions=restrictions.with_import_notification_policy(policy))


def somagent_plugin(codec_key_file: Path | None, *, sandbox: bool = True) -> SimplePlugin:
    """Raises ValueError when the codec's key file is not a key ring."""
    return SimplePlugin(
        "somagent",
        data_converter=data_converter(codec_key_file),
        interceptors=[TracingInterceptor()],
        workflow_runner=sandboxed_runner() if sandbox else UnsandboxedWorkflowRunner(),
        workflow_failure_exception_types=[DomainError],
    )
