"""Names of OpenTelemetry's semantic conventions for generative AI, as of their status *Development* in 2026.

They are still being renamed (`gen_ai.client.token.usage` is to become counters of its own), so they stand here and nowhere else.
Prometheus gets them with underscores and a unit, as OpenTelemetry's own exporter writes them.
"""

from __future__ import annotations

from typing import Final

OPERATION: Final = "gen_ai.operation.name"
PROVIDER: Final = "gen_ai.provider.name"
REQUEST_MODEL: Final = "gen_ai.request.model"
RESPONSE_MODEL: Final = "gen_ai.response.model"
INPUT_TOKENS: Final = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS: Final = "gen_ai.usage.output_tokens"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
KIND_OF_TOKENS: Final = "gen_ai.token.type"
ERROR_TYPE: Final = "error.type"

CHAT: Final = "chat"
EMBEDDINGS: Final = "embeddings"

DURATION_HISTOGRAM: Final = "gen_ai_client_operation_duration_seconds"
USAGE_HISTOGRAM: Final = "gen_ai_client_token_usage"
FIRST_CHUNK_HISTOGRAM: Final = "gen_ai_client_operation_time_to_first_chunk_seconds"


def label(name: str) -> str:
    """An attribute's name as a Prometheus label."""
    return name.replace(".", "_")
