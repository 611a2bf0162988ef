"""Events of documents."""

from __future__ import annotations

from typing import ClassVar, Final

from domain.base import Count, Sha256
from domain.event_data.base import EventData
from domain.ids import DocumentId
from domain.names import EventType, Topic


class OfDocument(EventData):
    """An event on a document; its subject is the document's id."""

    topic: ClassVar[Topic] = Topic.DOCUMENT_EVENTS

    document_id: DocumentId

    @property
    def about(self) -> str:
        return self.document_id


class DocumentAdded(OfDocument):
    """A document was stored. `sha256` and `bytes` are of what was uploaded; `characters` counts the text read from it."""

    event_type: ClassVar[EventType] = EventType.DOCUMENT_ADDED

    media_type: str
    sha256: Sha256
    bytes: Count
    characters: Count


class DocumentDeleted(OfDocument):
    """A document is gone."""

    event_type: ClassVar[EventType] = EventType.DOCUMENT_DELETED


EVENTS: Final = (
    DocumentAdded,
    DocumentDeleted,
)
