"""Each way to fail with each adapter, whole and streamed: the class of error decides between retry, fallback and stop."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from contract.provider_cases import KEY, MARKER, MODEL, VENDORS, WAYS, Case, asking, streamed
from fakes.vendor_server import WORDS, Mode

from adapters.providers.registry import open_provider
from domain.errors import (
    DomainError,
    ModelBadRequest,
    ModelContentFiltered,
    ModelContextExceeded,
    ModelKeyRefused,
    ModelOverloaded,
    ModelRateLimited,
    ModelRefused,
    ModelStreamBroken,
    ModelTimedOut,
    UnsupportedByModel,
)

# Neither closes the connection in time, so the adapter must.
HURRIED: dict[Mode, float] = {"slow": 0.3, "drip": 0.5}

FAILURES: list[tuple[Mode, type[DomainError]]] = [
    ("rate_limited", ModelRateLimited),
    ("error", ModelOverloaded),
    ("unavailable", ModelOverloaded),
    ("overloaded", ModelOverloaded),
    ("gateway_timeout", ModelTimedOut),
    ("slow", ModelTimedOut),
    ("drip", ModelTimedOut),
    ("unauthorized", ModelKeyRefused),
    ("forbidden", ModelKeyRefused),
    ("quota", ModelKeyRefused),
    ("refused", ModelBadRequest),
    ("too_long", ModelContextExceeded),
    ("unknown_model", ModelRefused),
    ("redirect", ModelRefused),
    ("html", ModelStreamBroken),
    ("error_body", ModelStreamBroken),
    ("truncated", ModelStreamBroken),
    ("broken_json", ModelStreamBroken),
    ("nonsense", ModelStreamBroken),
    ("empty", ModelStreamBroken),
]
STREAM_FAILURES: list[tuple[Mode, type[DomainError]]] = [
    ("cut", ModelStreamBroken),
    ("midway_error", ModelStreamBroken),
    ("early_error", ModelOverloaded),
]


async def _fails(case: Case, way: str, mode: Mode, error: type[DomainError]) -> DomainError:
    """The error of one call, which is sent once, ends in time and repeats no text."""
    case.fake.mode = mode
    provider = case.hurried(HURRIED[mode]) if mode in HURRIED else case.provider
    began = time.monotonic()
    with pytest.raises(DomainError) as caught:
        await WAYS[way](provider, asking())
    assert time.monotonic() - began < 5
    case.fake.release()
    if provider is not case.provider:
        await provider.close()
    assert type(caught.value) is error, caught.value
    assert len(case.fake.calls) == 1
    seen: BaseException | None = caught.value
    while seen is not None:
        for secret in (MARKER, KEY, WORDS):
            assert secret not in f"{seen} {getattr(seen, 'members', '')}"
        seen = seen.__cause__
    return caught.value


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("mode", "error"), FAILURES)
async def test_each_failure_has_its_class(case: Case, way: str, mode: Mode, error: type[DomainError]) -> None:
    case.fake.retry_after = "7"
    failed = await _fails(case, way, mode, error)
    asked_to_wait = mode == "rate_limited" or (mode == "overloaded" and case.name != "gemini")
    assert failed.retry_after == (7.0 if asked_to_wait else None)


@pytest.mark.parametrize(("mode", "error"), STREAM_FAILURES)
async def test_each_failure_of_a_stream_has_its_class(case: Case, mode: Mode, error: type[DomainError]) -> None:
    await _fails(case, "stream", mode, error)


@pytest.mark.parametrize("way", WAYS)
async def test_an_error_in_an_answer_that_looks_fine_is_told_as_one(case: Case, way: str) -> None:
    assert "HTTP 200 with an error" in str(await _fails(case, way, "error_body", ModelStreamBroken))


@pytest.mark.parametrize("way", WAYS)
async def test_a_filter_stops_a_prompt_or_an_answer(case: Case, way: str) -> None:
    if case.name == "gemini":
        # This vendor answers 200 and says in the answer that it took the prompt for bad.
        case.fake.mode = "refused_content"
        said = await WAYS[way](case.provider, asking())
        assert (said.text, said.finish_reason, said.usage.output_tokens) == ("", "content_filter", 0)
    else:
        await _fails(case, way, "refused_content", ModelContentFiltered)
    case.fake.mode = "filtered"
    said = await WAYS[way](case.provider, asking())
    assert (said.text, said.finish_reason) == ("", "content_filter")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", ["openai", "openai_responses", "azure_deployments", "azure_v1"], indirect=True)
async def test_a_setting_that_the_model_does_not_know_is_named(case: Case, way: str) -> None:
    failed = await _fails(case, way, "unsupported", UnsupportedByModel)
    assert failed.members == {"param": "temperature"}


@pytest.mark.parametrize("way", WAYS)
async def test_nobody_there(case: Case, way: str) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        config = case.vendor.config(case.fake).model_copy(update={"base_url": f"http://127.0.0.1:{held.getsockname()[1]}"})
        provider = open_provider("house", config, KEY)
        with pytest.raises(ModelOverloaded, match="cannot be reached"):
            await WAYS[way](provider, asking())
        await provider.close()


@pytest.mark.parametrize("way", WAYS)
async def test_a_redirect_is_not_followed_wherever_it_leads(case: Case, way: str) -> None:
    arrived: list[bytes] = []

    async def note(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await reader.read(1000))
        writer.close()

    server = await asyncio.start_server(note, "127.0.0.1", 0)
    case.fake.elsewhere = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/latest/meta-data"
    failed = await _fails(case, way, "redirect", ModelRefused)
    server.close()
    await server.wait_closed()
    assert arrived == []
    assert "redirect" in str(failed)


@pytest.mark.parametrize("way", WAYS)
async def test_a_call_that_is_cancelled_ends_at_once(case: Case, way: str) -> None:
    case.fake.mode = "slow"
    call = asyncio.create_task(WAYS[way](case.provider, asking()))
    await case.fake.arrived()
    began = time.monotonic()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert time.monotonic() - began < 1
    case.fake.release()


async def test_an_answer_that_is_too_large_is_left(case: Case) -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")
        event = b'data: {"type":"ping","choices":[],"candidates":[{}],"x":"' + b"a" * 65_000 + b'"}\n\n'
        try:
            while sent < 64 << 20:
                writer.write(event)
                await writer.drain()
                sent += len(event)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(pour, "127.0.0.1", 0)
    config = case.vendor.config(case.fake).model_copy(
        update={"base_url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}
    )
    provider = open_provider("house", config, KEY)
    with pytest.raises(ModelStreamBroken):
        await streamed(provider, asking())
    with pytest.raises(ModelStreamBroken):
        await provider.complete(MODEL, asking())
    await provider.close()
    server.close()
    assert sent < 48 << 20


def test_every_vendor_is_in_the_matrix() -> None:
    assert {vendor.kind.value for vendor in VENDORS.values()} == {
        "openai",
        "openai_responses",
        "azure_openai",
        "anthropic",
        "gemini",
    }
