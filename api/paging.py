"""Lists page by cursor: `limit` and `after` in the query, `next` in the answer, null at the end."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=200, description="Items on a page, at most.")]
"""`limit: Limit = 50`."""

Cursor = Annotated[
    str | None, Query(pattern=r"^[a-z]{2,4}_[0-9a-f]{32}$", description="`next` of the page before, which is an id.")
]
"""`after: Cursor = None`; lists with sequence numbers have a cursor of their own."""
