"""The `data` of every event, one model a type: what producers write and what the AsyncAPI document describes.

Ids, numbers, codes and hashes only, never a text. A released model only ever gains fields, each with a default; anything else
is a new version of the type.
"""

from __future__ import annotations

from typing import Final

from domain.event_data import budgets, credentials, decisions, documents, identity, kill_switches, people, policies, sessions, slm
from domain.event_data.base import EventData
from domain.names import EventType

_TOPICS: Final[tuple[tuple[type[EventData], ...], ...]] = (
    sessions.EVENTS,
    documents.EVENTS,
    slm.EVENTS,
    budgets.EVENTS,
    credentials.EVENTS,
    kill_switches.EVENTS,
    policies.EVENTS,
    identity.EVENTS,
    people.EVENTS,
    decisions.EVENTS,
)
EVENT_DATA: Final[dict[EventType, type[EventData]]] = {model.event_type: model for models in _TOPICS for model in models}
"""Every event's model by its type."""
