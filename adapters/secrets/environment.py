"""Secrets in environment variables: `models/openai` is `SECRET_MODELS_OPENAI`. They change with a restart alone."""

from __future__ import annotations

import os
import re

from pydantic import SecretStr

from adapters.secrets.names import checked
from domain.errors import SecretMissing
from domain.ports.secrets import Secret


class EnvironmentSecrets:
    """Implements `Secrets`."""

    async def read(self, name: str) -> Secret:
        """The variable's value. Raises SecretMissing, InvalidRequest."""
        variable = "SECRET_" + re.sub("[^A-Z0-9]", "_", checked(name).upper())
        value = os.environ.get(variable, "").strip()
        if not value:
            raise SecretMissing(f"There is no secret {name}: set the variable {variable}.")
        return Secret(name, SecretStr(value), "environment")

    async def aclose(self) -> None:
        """Nothing is kept."""
