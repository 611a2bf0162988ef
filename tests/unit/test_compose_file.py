"""infra/compose.yaml: valid, pinned, healthy, without a default secret, and speaking the names our code reads.

No container engine is assumed, so the variables of the file are filled in here as Compose would (compose-spec, 12-interpolation).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import yaml

from domain.names import Queue, SearchAttribute, Topic
from runtime.settings import Settings
from workers.embedded.temporal import DYNAMIC_CONFIG

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
TEXT = (INFRA / "compose.yaml").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load(TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service.get("image", "").startswith("somagent:")}
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>[A-Z0-9_]+)(?P<rule>:[?-])?(?P<rest>[^}]*)\}")
SECRET_NAME = re.compile(r"PASSWORD|PWD|SECRET|TOKEN|API_KEY")
# What the Temporal SDK's envconfig reads beside TEMPORAL_TLS_* and TEMPORAL_GRPC_META_*.
TEMPORAL_ENVCONFIG = {
    "TEMPORAL_ADDRESS",
    "TEMPORAL_NAMESPACE",
    "TEMPORAL_API_KEY",
    "TEMPORAL_PROFILE",
    "TEMPORAL_CONFIG_FILE",
    "TEMPORAL_TLS",
}
PINNED = re.compile(r"^[a-z0-9./-]+:(?!latest)[a-z]*\d[A-Za-z0-9._-]*$")


def env_file(name: str) -> dict[str, str]:
    """The assignments of an example file."""
    lines = [line for line in (INFRA / name).read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def filled(value: str) -> str:
    """`value` with required variables set to a made-up word and the others to their defaults."""

    def fill(match: re.Match[str]) -> str:
        return "wordofletters" if match["rule"] == ":?" else match["rest"]

    return VARIABLE.sub(fill, value).replace("$$", "$")


def environment(service: Mapping[str, Any]) -> dict[str, str]:
    return {name: filled(str(value)) for name, value in service.get("environment", {}).items()}


def strings(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        for value in cast("dict[str, Any]", node).values():
            yield from strings(value)
    elif isinstance(node, list):
        for value in cast("list[Any]", node):
            yield from strings(value)
    elif isinstance(node, str):
        yield node


def one_shot(service: Mapping[str, Any]) -> bool:
    return str(service.get("restart", "")).startswith("on-failure")


def test_it_matches_the_compose_schema() -> None:
    schema = json.loads((ROOT / "tests/data/compose-spec.json").read_text())
    validator: Any = jsonschema.Draft202012Validator(schema)
    assert [f"{list(error.absolute_path)}: {error.message}" for error in validator.iter_errors(COMPOSE)] == []
    broken = {"services": {"gateway": {"image": 7}}}
    assert list(validator.iter_errors(broken)), "the schema must be able to refuse"


def test_every_process_of_ours_is_there_and_each_queue_has_its_worker() -> None:
    commands = {name: service["command"] for name, service in OURS.items()}
    queues = {name: command[2] for name, command in commands.items() if command[:2] == ["worker", "--queue"]}
    assert queues == {f"worker-{queue.value}": queue.value for queue in Queue}
    assert {name: command for name, command in commands.items() if name not in queues} == {
        "migrate": ["migrate"],
        "gateway": ["gateway"],
        "relay": ["relay"],
    }


@pytest.mark.parametrize("name", sorted(OURS))
def test_our_services_set_only_names_our_code_reads_to_values_it_accepts(name: str) -> None:
    fields = {field.upper(): field for field in Settings.model_fields}
    given = environment(OURS[name])
    unknown = {
        variable
        for variable in given
        if variable not in fields and variable not in TEMPORAL_ENVCONFIG and not variable.startswith(("OTEL_", "TEMPORAL_TLS_"))
    }
    assert unknown == set()
    Settings.model_validate({fields[variable]: value for variable, value in given.items() if variable in fields and value})


def test_each_process_holds_only_the_database_users_it_needs() -> None:
    held = {
        name: {variable for variable in service["environment"] if variable.startswith("DATABASE_")}
        for name, service in OURS.items()
        if name != "migrate"
    }
    workers = {f"worker-{queue.value}": {"DATABASE_URL"} for queue in Queue}
    assert held == {
        "gateway": {"DATABASE_URL", "DATABASE_TOKEN_URL"},
        "relay": {"DATABASE_RELAY_URL"},
        **workers,
    }


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_pinned(name: str) -> None:
    assert PINNED.match(SERVICES[name]["image"]), SERVICES[name]["image"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_what_keeps_running_has_a_health_check_and_what_ends_is_waited_for(name: str) -> None:
    service = SERVICES[name]
    if one_shot(service):
        waits = [other for other, spec in SERVICES.items() if name in spec.get("depends_on", {})]
        assert waits
        assert {SERVICES[other]["depends_on"][name]["condition"] for other in waits} == {"service_completed_successfully"}
    else:
        assert service["restart"] == "unless-stopped"
        # The image of ours brings its own; test_container_image.py tests it.
        assert name in OURS or service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
        assert not service.get("healthcheck", {}).get("disable")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_service_waits_for_what_it_needs(name: str) -> None:
    needs = SERVICES[name].get("depends_on", {})
    for other, condition in needs.items():
        expected = "service_completed_successfully" if one_shot(SERVICES[other]) else "service_healthy"
        assert condition == {"condition": expected}, other
    profiles = set(SERVICES[name].get("profiles", []))
    assert all(set(SERVICES[other].get("profiles", [])) <= profiles for other in needs)


def test_ports_are_published_on_loopback_alone() -> None:
    published = {name: port for name, service in SERVICES.items() for port in service.get("ports", [])}
    assert published
    assert all(str(port).startswith("127.0.0.1:") for port in published.values()), published


def test_every_service_has_a_memory_limit() -> None:
    assert [name for name, service in SERVICES.items() if "memory" not in service["deploy"]["resources"]["limits"]] == []


def test_no_secret_has_a_value_of_its_own() -> None:
    for match in VARIABLE.finditer(TEXT):
        if SECRET_NAME.search(match["name"]) and not match["name"].endswith("AUDIENCE"):
            assert match["rule"] == ":?" or match["rest"] == "", match[0]
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if SECRET_NAME.search(variable) and not variable.endswith(("_FILE", "_URL", "AUDIENCE")):
                assert VARIABLE.fullmatch(str(value)), f"{name}: {variable}"
    passwords = [
        password
        for value in strings(COMPOSE)
        for password in re.findall(r"[a-z]+://[^\s/@:]*:([^\s@]*)@", VARIABLE.sub("$$", value))
    ]
    assert passwords
    assert set(passwords) == {"$$"}


def test_the_example_names_every_variable_and_fills_in_no_secret() -> None:
    example = env_file(".env.example")
    used = {match["name"]: match for match in VARIABLE.finditer(TEXT)}
    assert set(example) == set(used)
    for name, value in example.items():
        required = used[name]["rule"] == ":?"
        assert value == ("" if required else used[name]["rest"]), name


def test_somabrain_gets_its_secrets_from_a_file_of_its_own() -> None:
    """Its required variables must not stop those who do not use the profile, so none of them is in compose.yaml."""
    example = env_file("somabrain.env.example")
    assert set(example.values()) == {""}
    assert not set(example) & {match["name"] for match in VARIABLE.finditer(TEXT)} - {"POSTGRES_PASSWORD"}
    context: str = SERVICES["somabrain"]["build"]["context"]
    assert re.fullmatch(r"https://github\.com/somatechlat/somabrain\.git#[0-9a-f]{40}", context)
    assert SERVICES["somabrain-opa"]["build"]["context"].startswith(context + ":")
    assert [name for name in SERVICES if name.startswith("somabrain") and SERVICES[name]["profiles"] != ["somabrain"]] == []


def test_mounted_files_and_key_files_are_named_as_they_are() -> None:
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in COMPOSE["volumes"] or (INFRA / source).exists(), f"{name}: {source}"
    files = {name: Path(filled(secret["file"])).name for name, secret in COMPOSE["secrets"].items()}
    assert files == {
        "signing_keys": "signing.jwks",
        "codec_keys": "codec.json",
        "login_keys": "login.json",
        "statement_keys": "statement.json",
        "constitution_trusted_keys": "constitution-trusted.json",
    }
    for service in OURS.values():
        for value in environment(service).values():
            if value.startswith("/run/secrets/"):
                assert value.removeprefix("/run/secrets/") in service["secrets"]


def listed(path: str) -> list[str]:
    return [line for line in (INFRA / path).read_text().split("\n") if line and not line.startswith("#")]


def test_topics_and_search_attributes_are_those_of_the_code() -> None:
    assert listed("kafka/topics.txt") == [topic.value for topic in Topic]
    assert listed("temporal/search-attributes.txt") == [attribute.value for attribute in SearchAttribute]


def test_temporal_runs_with_the_flags_the_embedded_one_has() -> None:
    flags: dict[str, list[dict[str, Any]]] = yaml.safe_load((INFRA / "temporal/dynamic-config.yaml").read_text())
    assert {name: json.dumps(values[0]["value"]) for name, values in flags.items()} == dict(DYNAMIC_CONFIG)
    assert all(list(values[0]) == ["value"] for values in flags.values()), "a flag must hold for every queue"


def test_prometheus_scrapes_each_admin_port_of_ours() -> None:
    config = yaml.safe_load((INFRA / "prometheus/prometheus.yml").read_text())
    found = {
        (name, target["port"])
        for job in config["scrape_configs"]
        for target in job.get("dns_sd_configs", [])
        for name in target["names"]
    }
    ports = {
        name: int(value)
        for name, service in OURS.items()
        for variable, value in environment(service).items()
        if variable.endswith("_ADMIN_PORT")
    }
    assert found == set(ports.items())
    static = [
        target for job in config["scrape_configs"] for group in job.get("static_configs", []) for target in group["targets"]
    ]
    assert [target for target in static if target.split(":")[0] not in {*SERVICES, "127.0.0.1"}] == []
