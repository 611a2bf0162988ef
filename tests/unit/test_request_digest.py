"""The digest that tells a repeated request from another one under the same Idempotency-Key."""

from __future__ import annotations

import hashlib

from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from api.idempotency import body_digest

text = st.text(st.characters(exclude_categories=("Cs",)), max_size=20)


class Body(BaseModel):
    prompt: str | None = None
    metadata: dict[str, str] = {}


class BodyOfALaterVersion(Body):
    persona: str | None = None


@given(st.dictionaries(text, text, max_size=5), text)
def test_order_of_members_does_not_matter(metadata: dict[str, str], prompt: str) -> None:
    backwards = dict(reversed(metadata.items()))
    path = {"session_id": "ses_1"}
    assert body_digest(Body(prompt=prompt, metadata=metadata), path) == body_digest(Body(metadata=backwards, prompt=prompt), path)


@given(text, text)
def test_other_bodies_have_other_digests(one: str, two: str) -> None:
    same = body_digest(Body(prompt=one), {}) == body_digest(Body(prompt=two), {})
    assert same == (one == two)


def test_the_path_counts() -> None:
    assert body_digest(None, {"session_id": "a"}) != body_digest(None, {"session_id": "b"})


def test_a_member_added_later_changes_no_digest() -> None:
    assert body_digest(Body(prompt="hello"), {}) == body_digest(BodyOfALaterVersion(prompt="hello"), {})


def test_the_digest_is_that_of_the_canonical_json() -> None:
    assert (
        body_digest(Body(prompt="é"), {"a": "b"})
        == hashlib.sha256('{"body":{"prompt":"é"},"path":{"a":"b"}}'.encode()).hexdigest()
    )
