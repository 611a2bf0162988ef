"""Lists page by cursor: `limit` and `after` in the query, `next` in the answer, null at the end."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

Limit = Annotated[int, Query(ge=1, le=200, description="Items on a page, at most.")]
"""`limit: Limit = 50`."""

Cursor = Annotated[str | None, Query(max_length=80, description="`next` of the page before.")]
"""`after: Cursor = None`; an id, or a sequence number where the list has one."""
