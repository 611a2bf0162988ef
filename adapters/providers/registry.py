"""From a provider's configuration to the adapter that speaks its protocol. Adapters of what is not configured are not loaded."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Protocol

from domain.catalogue import ProviderConfig, ProviderKind
from domain.errors import DependencyUnavailable
from domain.ports.models import ModelProvider
from domain.ports.secrets import Secrets


class OpenProvider(ModelProvider, Protocol):
    """A provider with connections to end."""

    async def close(self) -> None:
        """Ends them."""
        ...


def read_key(config: ProviderConfig) -> str | None:
    """The provider's key, from the environment variable or the file that is named. Raises DependencyUnavailable."""
    if config.api_key_env is not None:
        key = os.environ.get(config.api_key_env, "").strip()
        if not key:
            raise DependencyUnavailable(f"The environment variable {config.api_key_env} of MODELS_FILE is not set.")
        return key
    if config.api_key_file is not None:
        try:
            key = Path(config.api_key_file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            # The words of a decoding error hold the bytes.
            raise DependencyUnavailable(
                f"The key file {config.api_key_file} of MODELS_FILE cannot be read ({type(error).__name__})."
            ) from None
        if not key:
            raise DependencyUnavailable(f"The key file {config.api_key_file} of MODELS_FILE is empty.")
        return key
    return None


def open_provider(name: str, config: ProviderConfig, api_key: str | None) -> OpenProvider:
    """The adapter. Raises DependencyUnavailable, which says what is wrong with its configuration."""
    try:
        return _adapter(config.kind)(name, config, api_key)
    except ValueError as error:
        raise DependencyUnavailable(str(error)) from None


def open_keyed_provider(name: str, config: ProviderConfig, secrets: Secrets) -> OpenProvider:
    """The adapter for a provider whose key is in a store of secrets. Raises DependencyUnavailable as `open_provider` does."""
    from adapters.providers.keyed import KeyedProvider

    return KeyedProvider(partial(open_provider, name, config), config.api_key_secret or "", secrets)


def _adapter(kind: ProviderKind) -> Callable[[str, ProviderConfig, str | None], OpenProvider]:
    match kind:
        case ProviderKind.EMBEDDED:
            from adapters.providers.extractive import ExtractiveModel as Adapter
        case ProviderKind.OPENAI:
            from adapters.providers.openai_compatible import OpenAICompatibleModel as Adapter
        case ProviderKind.OPENAI_RESPONSES:
            from adapters.providers.openai_responses import OpenAIResponsesModel as Adapter
        case ProviderKind.AZURE_OPENAI:
            from adapters.providers.azure_openai import AzureOpenAIModel as Adapter
        case ProviderKind.ANTHROPIC:
            from adapters.providers.anthropic_messages import AnthropicModel as Adapter
        case ProviderKind.GEMINI:
            from adapters.providers.gemini import GeminiModel as Adapter
    return Adapter
