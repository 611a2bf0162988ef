"""A document: its text is read and recorded, and it is deleted, each as a short run of its own."""

from __future__ import annotations

from temporalio import workflow

from domain.documents import DocumentDeletion, DocumentInput
from domain.names import ActivityName, WorkflowName
from workflows.options import INGEST, WRITE


@workflow.defn(name=WorkflowName.DOCUMENT_ADD.value)
class DocumentAddWorkflow:
    """Reads the text of uploaded bytes and records the document."""

    @workflow.run
    async def run(self, document: DocumentInput) -> None:
        """Ends once the document is recorded. Fails as `unprocessable` when the bytes are not what they claim to be."""
        await workflow.execute_activity(ActivityName.DOCUMENT_ADD.value, document, summary="Read the document", **INGEST)


@workflow.defn(name=WorkflowName.DOCUMENT_DELETE.value)
class DocumentDeleteWorkflow:
    """Marks a document deleted and drops its bytes."""

    @workflow.run
    async def run(self, deletion: DocumentDeletion) -> None:
        """Fails as `not-found` when there is no such document."""
        await workflow.execute_activity(ActivityName.DOCUMENT_DELETE.value, deletion, summary="Delete the document", **WRITE)
