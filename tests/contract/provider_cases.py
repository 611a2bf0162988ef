"""The adapters of every vendor, each with the fake it talks to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from fakes.anthropic_server import FakeAnthropic
from fakes.gemini_server import FakeGemini
from fakes.openai_server import FakeOpenAI
from fakes.vendor_server import FakeVendor

from adapters.providers.registry import OpenProvider, open_provider
from domain.catalogue import ProviderConfig, ProviderKind
from domain.models import ChatMessage, Completion, CompletionRequest, TextDelta

KEY = "sk-secret"
MODEL = "fake-model"
MARKER = "zebra-7741"


@dataclass(frozen=True)
class Vendor:
    """`address` is what the provider's base_url is set to."""

    kind: ProviderKind
    fake: Callable[[], FakeVendor]
    address: Callable[[FakeVendor], str]
    api_version: str | None = None

    def config(self, fake: FakeVendor, seconds: float = 10.0) -> ProviderConfig:
        return ProviderConfig(kind=self.kind, base_url=self.address(fake), api_version=self.api_version, timeout_seconds=seconds)


def _v1(fake: FakeVendor) -> str:
    return f"{fake.base}/v1"


def _base(fake: FakeVendor) -> str:
    return fake.base


VENDORS = {
    "openai": Vendor(ProviderKind.OPENAI, lambda: FakeOpenAI(api_key=KEY), _v1),
    "openai_responses": Vendor(ProviderKind.OPENAI_RESPONSES, lambda: FakeOpenAI(api_key=KEY), _v1),
    "azure_deployments": Vendor(ProviderKind.AZURE_OPENAI, lambda: FakeOpenAI(api_key=KEY), _base, "2024-10-21"),
    "azure_v1": Vendor(ProviderKind.AZURE_OPENAI, lambda: FakeOpenAI(api_key=KEY), _base),
    "anthropic": Vendor(ProviderKind.ANTHROPIC, lambda: FakeAnthropic(api_key=KEY), _base),
    "anthropic_2023": Vendor(ProviderKind.ANTHROPIC, lambda: FakeAnthropic(api_key=KEY), _base, "2023-06-01"),
    "gemini": Vendor(ProviderKind.GEMINI, lambda: FakeGemini(api_key=KEY), _base),
}


@dataclass(frozen=True)
class Case:
    """A running fake and the adapter that talks to it."""

    name: str
    fake: FakeVendor
    provider: OpenProvider
    vendor: Vendor

    def hurried(self, seconds: float) -> OpenProvider:
        """An adapter that waits no longer than this."""
        return open_provider("house", self.vendor.config(self.fake, seconds), KEY)


@asynccontextmanager
async def every_fake() -> AsyncIterator[dict[str, FakeVendor]]:
    """The fakes by the names of their vendors, while the block runs."""
    async with AsyncExitStack() as exits:
        yield {name: await exits.enter_async_context(vendor.fake()) for name, vendor in VENDORS.items()}


@asynccontextmanager
async def running(name: str, fake: FakeVendor) -> AsyncIterator[Case]:
    """The case of a vendor, while the block runs; its fake begins anew."""
    fake.reset()
    provider = open_provider("house", VENDORS[name].config(fake), KEY)
    try:
        yield Case(name, fake, provider, VENDORS[name])
    finally:
        await provider.close()


def asking(*messages: ChatMessage, **more: object) -> CompletionRequest:
    """A request of these messages; of one question without them."""
    asked = messages or (ChatMessage(role="user", content=f"what about {MARKER}"),)
    return CompletionRequest.model_validate(
        {"messages": asked, "max_output_tokens": 77, "idempotency_key": "session/t/ses/turn", **more}
    )


async def complete(provider: OpenProvider, request: CompletionRequest) -> Completion:
    return await provider.complete(MODEL, request)


async def streamed(provider: OpenProvider, request: CompletionRequest) -> Completion:
    """The last item of a stream, which says what the deltas before it said."""
    items = [item async for item in provider.stream(MODEL, request)]
    *deltas, whole = items
    assert isinstance(whole, Completion)
    assert "".join(delta.text for delta in deltas if isinstance(delta, TextDelta)) == whole.text
    assert all(isinstance(delta, TextDelta) and delta.text for delta in deltas)
    return whole


WAYS = {"complete": complete, "stream": streamed}
