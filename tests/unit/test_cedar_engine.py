"""The Cedar engine: verdicts by annotation, the strictest wins, and whatever goes wrong is a denial."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.cedar.engine import CedarEngine
from domain.actors import Actor
from domain.decisions import Facts, Verdict
from domain.names import Effect
from domain.policy_sets import PolicyLayers
from domain.ports.policy import PolicyAnswer, PolicyQuestion

BASE = """
@id("own") permit(principal, action, resource) when { resource.tenant == principal.tenant };
"""
ESCALATE = """
@id("much") @verdict("escalate") @reason("A lot is asked for.")
forbid(principal, action, resource) when { context.score > 600 };
"""
REFUSE = (
    '@id("persona") @reason("That persona is not offered.") forbid(principal, action, resource) when { context.persona == "x" };'
)
WARN = """
@id("late") @verdict("warn") @reason("This session is long.")
permit(principal, action, resource) when { resource.tenant == principal.tenant && context.turn > 10 };
"""
REDACT = """
@id("keys") @verdict("transform") @transform("redact:secret") @reason("Keys were taken out.")
permit(principal, action, resource) when { resource.tenant == principal.tenant && context.categories.contains("secret") };
"""
REDACT_NAMES = """
@id("names") @verdict("transform") @transform("redact:name redact:secret") @reason("Names were taken out.")
permit(principal, action, resource) when { resource.tenant == principal.tenant && context.categories.contains("name") };
"""
ENGINE = CedarEngine()


def question(**changes: Any) -> PolicyQuestion:
    facts = {name: changes.pop(name) for name in tuple(changes) if name in Facts.model_fields}
    values: dict[str, Any] = {
        "actor": Actor(tenant_id="demo", subject="someone", client_id="cli_1", scopes=("session:start",), jti="j"),
        "actions": (Effect.SESSION_START.value,),
        "resource": "ses_1",
        "facts": Facts(**facts),
        "score": 0,
        "region": "local",
    }
    return PolicyQuestion(**(values | changes))


def ask(policies: str, **changes: Any) -> PolicyAnswer:
    return ENGINE.evaluate(PolicyLayers(constitution=policies), question(**changes))


def codes(answer: PolicyAnswer) -> list[str]:
    return [reason.code for reason in answer.reasons]


def test_permit_allows_without_a_reason() -> None:
    answer = ask(BASE)
    assert (answer.verdict, answer.reasons, answer.transform) == (Verdict.ALLOW, (), None)


@pytest.mark.parametrize("effect", list(Effect))
def test_every_effect_is_known_to_the_schema(effect: Effect) -> None:
    assert ask(BASE, actions=(effect.value,), model_role="summarization").verdict is Verdict.ALLOW


ALL_EFFECTS = tuple(effect.value for effect in Effect)
NO_MODEL = '@id("no-model") @reason("r") forbid(principal, action == Soma::Action::"model:call", resource);'
NO_MEMORY = (
    '@id("no-memory") @verdict("escalate") @reason("r") '
    'forbid(principal, action in [Soma::Action::"memory:recall", Soma::Action::"memory:remember"], resource);'
)


def test_the_strictest_answer_over_the_actions_counts() -> None:
    allowed, escalated = ask(BASE, actions=ALL_EFFECTS), ask(BASE + NO_MEMORY, actions=ALL_EFFECTS)
    denied = ask(BASE + NO_MEMORY + NO_MODEL, actions=ALL_EFFECTS)
    assert (allowed.verdict, allowed.reasons) == (Verdict.ALLOW, ())
    assert (escalated.verdict, codes(escalated)) == (Verdict.ESCALATE, ["no-memory"])
    assert (denied.verdict, set(codes(denied))) == (Verdict.DENY, {"no-memory", "no-model"})


def test_an_action_that_does_not_fit_denies_all() -> None:
    answer = ask(BASE, actions=(*ALL_EFFECTS, "session:end"))
    assert (answer.verdict, codes(answer)) == (Verdict.DENY, ["policy-error"])


def test_default_is_deny() -> None:
    answer = ask("")
    assert answer.verdict is Verdict.DENY
    assert answer.reasons[0].code == "no-policy-permits"


def test_another_tenants_resource_is_not_permitted() -> None:
    assert ask(BASE, resource="session/demo/ses_1").verdict is Verdict.ALLOW
    assert codes(ask(BASE, resource="session/other/ses_1")) == ["no-policy-permits"]


def test_forbid_denies_with_its_id_and_reason() -> None:
    answer = ask(BASE + REFUSE, persona="x")
    assert answer.verdict is Verdict.DENY
    assert [(reason.code, reason.message) for reason in answer.reasons] == [("persona", "That persona is not offered.")]


def test_escalating_forbid_escalates() -> None:
    answer = ask(BASE + ESCALATE, score=700)
    assert (answer.verdict, codes(answer)) == (Verdict.ESCALATE, ["much"])


def test_a_plain_forbid_among_escalating_ones_denies() -> None:
    answer = ask(BASE + ESCALATE + REFUSE, score=700, persona="x")
    assert (answer.verdict, codes(answer)) == (Verdict.DENY, ["much", "persona"])


def test_nothing_escalates_that_no_policy_permits() -> None:
    answer = ask(BASE + ESCALATE, score=700, resource="session/other/ses_1")
    assert (answer.verdict, codes(answer)) == (Verdict.DENY, ["no-policy-permits"])


def test_warning_permit_warns() -> None:
    answer = ask(BASE + WARN, turn=11)
    assert (answer.verdict, codes(answer)) == (Verdict.WARN, ["late"])
    assert ask(BASE + WARN, turn=10).verdict is Verdict.ALLOW


def test_transforming_permit_says_what_is_done() -> None:
    answer = ask(BASE + WARN + REDACT, turn=11, categories=("secret",))
    assert (answer.verdict, codes(answer), answer.transform) == (Verdict.TRANSFORM, ["keys", "late"], "redact:secret")


def test_transforms_are_joined() -> None:
    answer = ask(BASE + REDACT + REDACT_NAMES, categories=("name", "secret"))
    assert answer.transform == "redact:name redact:secret"


def test_an_escalated_text_is_transformed_too() -> None:
    answer = ask(BASE + ESCALATE + REDACT, score=700, categories=("secret",))
    assert (answer.verdict, codes(answer), answer.transform) == (Verdict.ESCALATE, ["keys", "much"], "redact:secret")


@pytest.mark.parametrize(
    "policies",
    [
        "permit(",
        "permit(principal, action, resource);",
        BASE + '@id("x") forbid(principal, action, resource) when { context.nothing };',
    ],
    ids=["syntax", "no id", "schema"],
)
def test_policies_that_do_not_check_deny(policies: str) -> None:
    answer = ask(policies)
    assert (answer.verdict, codes(answer)) == (Verdict.DENY, ["policy-error"])


OVERFLOW = '@id("sum") @reason("r") forbid(principal, action, resource) when { context.text_bytes * 9223372036854775807 > 1 };'


def test_an_error_at_evaluation_denies() -> None:
    """Cedar skips a forbid that errs and permits; we do not."""
    assert ENGINE.check(BASE + OVERFLOW) == ()
    assert ask(BASE + OVERFLOW, text_bytes=0).verdict is Verdict.ALLOW
    assert codes(ask(BASE + OVERFLOW, text_bytes=2)) == ["policy-error"]


@pytest.mark.parametrize(
    "change",
    [{"actions": ("session:end",)}, {"score": 2**70}, {"region": "\udfff"}],
    ids=["unknown action", "no Long", "no text"],
)
def test_a_question_that_does_not_fit_denies(change: dict[str, Any]) -> None:
    asked = question().model_copy(update=change)
    assert codes(ENGINE.evaluate(PolicyLayers(constitution=BASE), asked)) == ["policy-error"]


@pytest.mark.parametrize(
    ("policies", "complaint"),
    [
        ("permit(", "do not parse"),
        ("permit(principal, action, resource);", "needs an @id"),
        ('@id("Own") permit(principal, action, resource);', "needs an @id"),
        (BASE + BASE, "2 policies have the id own"),
        ('@id("a") forbid(principal, action, resource);', "needs a @reason"),
        ('@id("a") @verdict("warn") permit(principal, action, resource);', "needs a @reason"),
        ('@id("a") @verdict("maybe") @reason("r") permit(principal, action, resource);', 'the verdict "maybe"'),
        ('@id("a") @verdict("escalate") @reason("r") permit(principal, action, resource);', "a permit can have"),
        ('@id("a") @verdict("warn") @reason("r") forbid(principal, action, resource);', "a forbid can have"),
        ('@id("a") @verdict @reason("r") forbid(principal, action, resource);', "a forbid can have"),
        ('@id("a") @verdit("escalate") @reason("r") forbid(principal, action, resource);', "unknown annotation @verdit"),
        ('@id("a") @verdict("transform") @reason("r") permit(principal, action, resource);', "needs both"),
        ('@id("a") @transform("redact:x") permit(principal, action, resource);', "needs both"),
        (
            '@id("a") @verdict("transform") @transform("erase") @reason("r") permit(principal, action, resource);',
            "nothing to be done",
        ),
        ('@id("a") permit(principal == ?principal, action, resource);', "template"),
        ('@id("a") permit(principal, action, resource) when { context.mood == "good" };', "policy a breaks the schema"),
        ('@id("a") permit(principal is Soma::Robot, action, resource);', "policy a breaks the schema"),
        ('@id("a") permit(principal, action, resource) when { context.score > "much" };', "policy a breaks the schema"),
    ],
)
def test_check_names_the_trouble(policies: str, complaint: str) -> None:
    assert any(complaint in fault.message for fault in ENGINE.check(policies))


def test_check_passes_what_is_right() -> None:
    assert ENGINE.check(BASE + ESCALATE + REFUSE + WARN + REDACT + REDACT_NAMES) == ()


def test_digest_changes_with_the_policies() -> None:
    digests = [ENGINE.digest(policies) for policies in (BASE, BASE, BASE + REFUSE)]
    assert digests[0] == digests[1] != digests[2]
