"""OpenAI's models at Azure: the same protocol under other paths, with the key in a header of its own.

With `api_version` each model is the name of a deployment and part of the path; without one Azure's `v1` API is asked, which
takes the deployment's name as the model.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from adapters.providers.endpoint import base_url_of
from adapters.providers.openai_compatible import OpenAICompatibleModel
from domain.catalogue import ProviderConfig

_V1: Final = "/openai/v1"


class AzureOpenAIModel(OpenAICompatibleModel):
    """Implements `domain.ports.models.ModelProvider`. `base_url` is the resource's address, as the portal shows it."""

    def __init__(self, name: str, config: ProviderConfig, api_key: str | None) -> None:
        """Raises ValueError without an address, and for a version that is none."""
        version = config.api_version
        if version is not None and not version.replace("-", "").isalnum():
            raise ValueError(f"The api_version of provider {name} must be one of Azure's, such as 2024-10-21.")
        self._version = version
        super().__init__(name, config, api_key)

    def _base_url(self, config: ProviderConfig) -> str:
        return base_url_of(self.name, config).removesuffix(_V1).removesuffix("/openai")

    def _vendor(self, base_url: str) -> str:
        del base_url  # It is Azure whatever the address.
        return "azure.ai.openai"

    def _key(self, api_key: str) -> dict[str, str]:
        return {"api-key": api_key}

    def _path(self, model: str, what: str) -> str:
        if self._version is None:
            return f"{_V1}/{what}"
        return f"/openai/deployments/{quote(model, safe='')}/{what}?api-version={self._version}"
