"""Documents whose bytes belie what they are said to be: a documented refusal and nothing half-written, or read as was asked."""

from __future__ import annotations

import gzip
import json
import uuid

import httpx2
import pytest
from live import Caller, Live
from nothing_written import assert_problem, rows, run_of_key
from temporalio.client import WorkflowExecutionStatus

from domain.ids import Prefix
from domain.names import Feature

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452")
JSON = "application/json"


def document(content: str, media_type: str = "text/plain", name: str = "notes.txt") -> bytes:
    return json.dumps({"name": name, "media_type": media_type, "content": content}).encode()


def raw(content: bytes, media_type: str = "text/plain") -> bytes:
    """A body with these bytes as its content, escaped by nobody."""
    return b'{"name": "notes.txt", "media_type": "%s", "content": "%s"}' % (media_type.encode(), content)


async def upload(caller: Caller, body: bytes, content_type: str, key: str) -> httpx2.Response:
    sent = caller.headers | {"Idempotency-Key": key, "Content-Type": content_type}
    return await caller.http.post("/v1/documents", content=body, headers=sent)


FORM = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n\r\nhello\r\n--x--\r\n'

REFUSED: dict[str, tuple[bytes, str, int, str]] = {
    "a picture as plain text": (raw(PNG), JSON, 400, "invalid-request"),
    "a picture's characters as plain text": (document(PNG.decode("latin-1")), JSON, 400, "invalid-request"),
    "a picture's characters as HTML": (document(PNG.decode("latin-1"), "text/html"), JSON, 400, "invalid-request"),
    "Latin-1 as UTF-8": (raw("café".encode("latin-1")), JSON, 400, "invalid-request"),
    "an overlong NUL": (raw(b"a\xc0\x80b"), JSON, 400, "invalid-request"),
    "an encoded surrogate": (raw(b"a\xed\xa0\x80b"), JSON, 400, "invalid-request"),
    "an escaped half of a pair": (raw(rb"a\ud83db", "text/markdown"), JSON, 400, "invalid-request"),
    "an escaped NUL": (raw(rb"a\u0000b", "text/html"), JSON, 400, "invalid-request"),
    "UTF-16": (document("hello").decode().encode("utf-16"), JSON, 400, "invalid-request"),
    "a byte order mark": (b"\xef\xbb\xbf" + document("hello"), JSON, 400, "invalid-request"),
    "compressed": (gzip.compress(document("hello")), JSON, 400, "invalid-request"),
    "another charset": (document("hello"), "application/json; charset=iso-8859-1", 415, "unsupported-media-type"),
    "the file itself": (b"hello", "text/plain", 415, "unsupported-media-type"),
    "the bytes of a file": (PNG, "application/octet-stream", 415, "unsupported-media-type"),
    "a form with a file": (FORM, "multipart/form-data; boundary=x", 415, "unsupported-media-type"),
    "no media type": (document("hello"), "", 415, "unsupported-media-type"),
    "a media type that is not read": (document("{}", "application/json"), JSON, 400, "invalid-request"),
    "a name of two lines": (document("hello", name="a\nb"), JSON, 400, "invalid-request"),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_no_text_is_refused_before_anything_runs(product: Live, caller: Caller, what: str) -> None:
    body, content_type, status, kind = REFUSED[what]
    key = str(uuid.uuid4())
    before = await rows(product, caller.tenant)

    assert_problem(await upload(caller, body, content_type, key), status, kind)

    assert await rows(product, caller.tenant) == before
    assert await run_of_key(product, caller.tenant, key, Feature.DOCUMENT, Prefix.DOCUMENT) is None


WITHOUT_TEXT = {
    "blanks": (" \n\t\r\n", "text/plain"),
    "a byte order mark alone": ("\ufeff", "text/markdown"),
    "a page that is all script": ("<!doctype html><script>var x = 1;</script><style>p {}</style>", "text/html"),
    "a page of control characters": ("<p>&#1;&#2;</p>", "text/html"),
}


@pytest.mark.parametrize("what", WITHOUT_TEXT)
async def test_what_holds_no_text_is_refused_and_its_run_ends(product: Live, caller: Caller, what: str) -> None:
    content, media_type = WITHOUT_TEXT[what]
    key = str(uuid.uuid4())
    before = await rows(product, caller.tenant)
    for _ in range(2):
        assert_problem(await upload(caller, document(content, media_type), JSON, key), 422, "unprocessable")

    after = await rows(product, caller.tenant)
    # The bytes are stored before the run that reads them.
    assert after | {"blobs": 0} == before | {"blobs": 0}
    run = await run_of_key(product, caller.tenant, key, Feature.DOCUMENT, Prefix.DOCUMENT)
    assert run is not None
    assert run[1] is WorkflowExecutionStatus.FAILED
    assert_problem(await caller.get(f"/v1/documents/{run[0]}"), 404, "not-found")
    assert (await caller.get("/v1/documents")).json()["documents"] == []


PAGE = "<h1>Tea</h1><p>It is <b>good</b>.</p>"


@pytest.mark.parametrize(
    ("content", "media_type", "text"),
    [
        (PAGE, "text/markdown", PAGE),
        (PAGE, "text/plain", PAGE),
        ("# Tea\n\nIt is *good*.", "text/html", "# Tea It is *good*."),
        (PAGE, "text/html", "# Tea\n\nIt is good."),
        ("%PDF-1.7 is how such a file begins", "text/plain", "%PDF-1.7 is how such a file begins"),
        ("\ufefftea", "text/plain", "tea"),
    ],
)
async def test_text_of_another_kind_is_read_as_what_it_is_said_to_be(
    caller: Caller, content: str, media_type: str, text: str
) -> None:
    answer = await upload(caller, document(content, media_type), JSON, str(uuid.uuid4()))
    assert answer.status_code == 201, answer.text
    read = (await caller.get(f"/v1/documents/{answer.json()['document_id']}")).json()
    assert read["text"] == text
    assert read["document"]["media_type"] == media_type
