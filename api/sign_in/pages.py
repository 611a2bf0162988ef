"""The pages of the log-in, as HTML without scripts. Whatever is put into one is escaped here and nowhere else.

A form may be sent to us alone. After a log-in the browser is led to the client, and browsers hold `form-action` against that as
well, so the page of a log-in names the client's address too.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from html import escape
from typing import Final

from starlette.responses import HTMLResponse

_STYLE: Final = """
body { font: 1rem/1.5 system-ui, sans-serif; max-width: 26rem; margin: 3rem auto; padding: 0 1rem; }
label { display: block; margin: 1rem 0 0; } input { font: inherit; width: 100%; box-sizing: border-box; padding: .4rem; }
button { font: inherit; margin: 1.5rem 0; padding: .5rem 1.5rem; } code { overflow-wrap: anywhere; }
.wrong { border-left: .3rem solid #b00; padding-left: .7rem; }
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()


def page(
    title: str, body: str, *, status: int = 200, leads_to: str = "", headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    """A page of ours. `body` is HTML; `leads_to` is the origin a form's answer may lead to."""
    text = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)} · SomaGent</title>'
        '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        f"<style>{_STYLE}</style></head><body><main><h1>{escape(title)}</h1>{body}</main></body></html>\n"
    )
    policy = (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'{' ' + leads_to if leads_to else ''}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    return HTMLResponse(text, status, {"Content-Security-Policy": policy, **(headers or {})})


def sentence(title: str, text: str, *, status: int = 200, headers: Mapping[str, str] | None = None) -> HTMLResponse:
    """A page that says one thing."""
    return page(title, f"<p>{escape(text)}</p>", status=status, headers=headers)


def form(action: str, fields: str, button: str, hidden: Mapping[str, str]) -> str:
    """A form that is sent to a path of ours."""
    kept = "".join(f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in hidden.items())
    return f'<form method="post" action="{escape(action)}">{kept}{fields}<button>{escape(button)}</button></form>'


def field(
    name: str, label: str, *, kind: str = "text", value: str = "", longest: int = 256, fill: str = "off", more: str = ""
) -> str:
    """A labelled input. `fill` is its autocomplete token, `more` further attributes, which are ours."""
    return (
        f'<label>{escape(label)}<input name="{escape(name)}" type="{kind}" value="{escape(value)}" maxlength="{longest}" '
        f'autocomplete="{fill}" required{more}></label>'
    )


def code_field() -> str:
    """Where a one-time password is typed."""
    return field("code", "Code of your authenticator app", longest=9, fill="one-time-code", more=' inputmode="numeric"')


def wrong(text: str) -> str:
    """What was wrong with the form before."""
    return f'<p class="wrong" role="alert">{escape(text)}</p>' if text else ""
