"""References to blobs: immutable bytes keyed (tenant, sha256). Workflows carry these, never the text itself."""

from __future__ import annotations

from domain.base import Contract, Count, Sha256

TEXT = "text/plain; charset=utf-8"


class BlobRef(Contract):
    """Names stored bytes of one tenant."""

    sha256: Sha256
    size: Count
    media_type: str = TEXT
