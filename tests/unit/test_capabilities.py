"""Capabilities: what one opens, and when one is within another."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.capabilities import all_within, covers, is_capability, missing, names, narrowed, parsed, within
from domain.names import Effect, Scope

_IDS = st.text("ab_", min_size=1, max_size=4)
_PATTERNS = st.one_of(st.just(""), st.just(":*"), _IDS.map(lambda id_: f":{id_}"), _IDS.map(lambda id_: f":{id_}*"))
_CAPABILITIES = st.tuples(st.sampled_from([Scope.SESSION_READ, Scope.SLM_CALL]), _PATTERNS).map(lambda pair: pair[0] + pair[1])


@given(_CAPABILITIES, st.lists(_CAPABILITIES, max_size=3), st.one_of(st.none(), _IDS))
def test_what_is_within_others_opens_nothing_that_they_do_not(asked: str, held: list[str], resource: str | None) -> None:
    scope, _ = parsed(asked)
    if within(asked, held) and covers([asked], scope, resource):
        assert covers(held, scope, resource)


@given(_CAPABILITIES, _CAPABILITIES, _CAPABILITIES)
def test_being_within_goes_on_down_a_chain(first: str, second: str, third: str) -> None:
    assert within(first, [first])
    if within(first, [second]) and within(second, [third]):
        assert within(first, [third])


@pytest.mark.parametrize(
    ("held", "resource", "opens"),
    [
        ("session:read", "ses_1", True),
        ("session:read", None, True),
        ("session:read:*", None, True),
        ("session:read:ses_1", "ses_1", True),
        ("session:read:ses_1", "ses_12", False),
        ("session:read:ses_1*", "ses_12", True),
        ("session:read:ses_1*", None, False),
        ("session:send", "ses_1", False),
        ("session:read:", "ses_1", False),
        ("session:read:a*b", "a*b", False),
        ("session:nonsense", "ses_1", False),
        ("", None, False),
    ],
)
def test_a_capability_opens_what_its_pattern_matches(held: str, resource: str | None, opens: bool) -> None:
    assert covers([held], Scope.SESSION_READ, resource) is opens


@pytest.mark.parametrize("text", ["", ":", "session", "session:read:**", "session:read:a b", "session:read:\n", "x" * 200])
def test_other_texts_are_no_capability(text: str) -> None:
    assert not is_capability(text)
    assert not within(text, [text])


def test_an_effect_needs_one_of_its_scopes_on_the_resource() -> None:
    assert missing((Effect.TURN_ANSWER,), ("session:send:ses_1",), "ses_1") == ()
    assert missing((Effect.TURN_ANSWER,), ("session:send:ses_1",), "ses_2") == (Effect.TURN_ANSWER,)


def test_a_model_call_is_opened_by_its_role() -> None:
    held = ("slm:call:code*",)
    assert missing((Effect.MODEL_CALL,), held, "slm_1", "code_generation") == ()
    assert missing((Effect.MODEL_CALL,), held, "slm_1", "summarization") == (Effect.MODEL_CALL,)
    assert missing((Effect.MODEL_CALL,), held, "code", None) == (Effect.MODEL_CALL,)
    assert missing((Effect.MODEL_CALL,), ("session:send:ses_1",), "slm_1", "ses_1") == (Effect.MODEL_CALL,)


@given(_CAPABILITIES, st.lists(_CAPABILITIES, max_size=3), _IDS)
def test_what_is_narrowed_to_a_resource_is_within_and_opens_it(asked: str, held: list[str], resource: str) -> None:
    scope, _ = parsed(asked)
    found = narrowed(scope, held, resource)
    assert (found is not None) == covers(held, scope, resource)
    if found is not None:
        assert within(found, held)
        assert covers([found], scope, resource)


@given(st.lists(_CAPABILITIES, max_size=3), st.lists(_CAPABILITIES, max_size=3))
def test_all_are_within_when_each_is(asked: list[str], held: list[str]) -> None:
    assert all_within(asked, held) == all(within(capability, held) for capability in asked)


def test_a_narrowed_capability_names_its_scope_and_no_other() -> None:
    assert names(["session:read:ses_1"], Scope.SESSION_READ)
    assert not names(["session:read:ses_1", "session:nonsense"], Scope.SESSION_SEND)
