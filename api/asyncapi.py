"""The AsyncAPI 3.0 document, made from the topics, event types and the models of their data: docs/asyncapi.yaml.

`python -m api.asyncapi` prints it as that file holds it. The models refuse unknown fields when we write; readers must not, since
a released type gains fields, so the schemas here leave room for them.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any, Final

from pydantic.json_schema import JsonSchemaMode, models_json_schema

from domain.event_data import EVENT_DATA
from domain.event_data.base import EventData
from domain.names import EventType, Topic
from runtime.version import VERSION

_DESCRIPTION: Final = """\
SomaGent writes an event in the transaction that changes the state it tells of. The relay carries events to Kafka as CloudEvents
1.0.2 in binary mode: attributes are `ce_` headers, the value is `data` as JSON. The same events are read over HTTP from
`/v1/events`, as pages or as a stream, in CloudEvents' JSON format.

Delivery is at least once: drop repeats by `ce_source` and `ce_id`. Events of one `ce_partitionkey` (tenant and subject) share a
partition and stay in order; `ce_sequence` sorts as text in commit order. `data` holds ids, numbers, codes and hashes, never a
text. Readers ignore fields they do not know. An event too large for a broker comes without data and with `ce_dataref`, the
address it can be read from.
"""

_TOPICS: Final[dict[Topic, tuple[str, str]]] = {
    Topic.SESSION_EVENTS: ("Sessions and turns", "How sessions start and close, and how their turns go. Subject: the session."),
    Topic.DOCUMENT_EVENTS: ("Documents", "Documents added and deleted. Subject: the document."),
    Topic.SLM_REQUESTS: ("Model requests", "Model requests of their own, as they are accepted. Subject: the request."),
    Topic.SLM_RESPONSES: ("Model responses", "How model requests ended. Subject: the request."),
    Topic.SLM_METRICS: ("Model calls", "One record for each attempt at a model call. Subject: the session or model request."),
    Topic.BUDGET_EVENTS: ("Budgets", "Caps set, alerts, refusals and overruns. Subject: the budget."),
    Topic.IDENTITY_EVENTS: ("Identity", "API keys made and revoked. Subject: the key."),
    Topic.KILLSWITCH_EVENTS: ("Kill switches", "Engaging, the statement once everything is quiet, and the release."),
    Topic.IDENTITY_EVENTS: (
        "Identity",
        "API keys, tokens, roles, clients and tenants: made, changed, ended. Subject: which one.",
    ),
    Topic.POLICY_DECISIONS: ("Decisions", "What the gate decided and what approvers answered. Subject: the session."),
    Topic.POLICY_DECISIONS: (
        "Decisions",
        "What the gate decided, what approvers answered, which policies of a tenant's own came into force, what replays found. "
        "Subject: the session or model request, the policy set, the replay.",
    ),
    Topic.MODERATION_EVENTS: ("Moderation", "Texts in which moderation found something. Subject: the session."),
}

_HEADERS: Final[dict[str, Any]] = {
    "type": "object",
    "description": "CloudEvents 1.0.2 attributes in Kafka's binary mode.",
    "required": [
        "ce_specversion",
        "ce_id",
        "ce_source",
        "ce_type",
        "ce_subject",
        "ce_time",
        "ce_partitionkey",
        "ce_sequence",
        "ce_tenant",
    ],
    "properties": {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {"type": "string", "pattern": "^evt_[0-9a-f]{32}$", "description": "Unique within the source."},
        "ce_source": {"type": "string", "pattern": "^urn:somagent:[a-z0-9-]{1,32}$", "description": "The region that wrote it."},
        "ce_type": {"type": "string", "enum": [event.value for event in EventType]},
        "ce_subject": {"type": "string", "minLength": 1, "description": "The session or document it is about."},
        "ce_time": {"type": "string", "format": "date-time"},
        "ce_partitionkey": {"type": "string", "description": "Tenant, a slash and the subject; the record's key too."},
        "ce_sequence": {"type": "string", "pattern": "^[0-9]{20}-[0-9]{20}$", "description": "Sorts in commit order."},
        "ce_tenant": {"type": "string", "pattern": "^[a-z0-9][a-z0-9-]{0,47}$"},
        "ce_traceparent": {"type": "string", "description": "W3C Trace Context of the request that caused it."},
        "ce_dataref": {"type": "string", "format": "uri", "description": "Where the whole event is, when it came without data."},
        "content-type": {"const": "application/json", "description": "Absent when there is no data."},
    },
}


def document() -> dict[str, Any]:
    """The document as a value."""
    schemas = _schemas()
    messages = {_message_name(event): _message(event, EVENT_DATA[event]) for event in EventType}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "SomaGent events",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {topic.value: _channel(topic) for topic in Topic},
        "operations": {f"send_{topic.name.lower()}": _operation(topic) for topic in Topic},
        "components": {
            "messages": messages,
            "messageTraits": {"cloudEvent": _trait()},
            "schemas": {"CloudEventHeaders": _HEADERS, **schemas},
        },
    }


def render() -> str:
    """The document as it is committed. Needs PyYAML, which is installed for development only."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes a text of several lines as such."""

    def lines(dumper: Any, text: str) -> Any:
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)

    Dumper.add_representer(str, lines)
    text: str = yaml.dump(document(), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)
    return "# Written by `make docs` from domain/event_data/ and domain/names.py.\n" + text


def _message_name(event: EventType) -> str:
    return EVENT_DATA[event].__name__


def _of(topic: Topic) -> list[str]:
    return [_message_name(event) for event in EventType if EVENT_DATA[event].topic is topic]


def _channel(topic: Topic) -> dict[str, Any]:
    title, description = _TOPICS[topic]
    return {
        "address": topic.value,
        "title": title,
        "description": description,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in _of(topic)},
        "bindings": {"kafka": {"topic": topic.value, "bindingVersion": "0.5.0"}},
    }


def _operation(topic: Topic) -> dict[str, Any]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{topic.value}"},
        "summary": f"The relay publishes {_TOPICS[topic][0].lower()}.",
        "messages": [{"$ref": f"#/channels/{topic.value}/messages/{name}"} for name in _of(topic)],
    }


def _message(event: EventType, model: type[EventData]) -> dict[str, Any]:
    return {
        "name": event.value,
        "title": model.__name__,
        "summary": inspect.cleandoc(model.__doc__ or ""),
        "contentType": "application/json",
        "payload": {"$ref": f"#/components/schemas/{model.__name__}"},
        "traits": [{"$ref": "#/components/messageTraits/cloudEvent"}],
    }


def _trait() -> dict[str, Any]:
    return {
        "headers": {"$ref": "#/components/schemas/CloudEventHeaders"},
        "correlationId": {
            "description": "The trace of the request that caused it.",
            "location": "$message.header#/ce_traceparent",
        },
        "bindings": {
            "kafka": {"key": {"type": "string", "description": "`ce_partitionkey`"}, "bindingVersion": "0.5.0"},
        },
    }


def _schemas() -> dict[str, Any]:
    models: list[tuple[type[EventData], JsonSchemaMode]] = [(EVENT_DATA[event], "serialization") for event in EventType]
    _, found = models_json_schema(models, ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = found["$defs"]
    return {name: _open(schemas[name]) for name in sorted(schemas)}


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """Without the ban on unknown fields and the names pydantic gives every field."""
    properties = {name: {k: v for k, v in field.items() if k != "title"} for name, field in schema.get("properties", {}).items()}
    kept = {name: value for name, value in schema.items() if name not in ("additionalProperties", "title")}
    return {**kept, "properties": properties} if properties else kept


if __name__ == "__main__":
    sys.stdout.write(render())
