"""Users by rule: which names are one too many, which passwords are taken, and who may give which role."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.actors import Actor
from domain.errors import Forbidden, InsufficientScope, Unprocessable
from domain.lookalikes import LOOKALIKES
from domain.names import Scope
from domain.roles import BUILT_IN_ROLES
from domain.users import (
    LONGEST_PASSWORD,
    bounded_password,
    check_grant,
    is_user,
    name_key,
    normal_name,
    normal_password,
    tenant_of_invitation,
    written_invitation,
)

KNOWN = {role: frozenset(scope.value for scope in scopes) for role, scopes in BUILT_IN_ROLES.items()}


def actor(*scopes: str, **changes: object) -> Actor:
    values = {"tenant_id": "t", "subject": "cli_1", "client_id": "cli_1", "scopes": scopes, "jti": "j"}
    return Actor.model_validate(values | changes)


@pytest.mark.parametrize(
    "other",
    [
        "Admin",
        "\u0430dmin",  # Cyrillic
        "\uff21\uff24\uff2d\uff29\uff2e",  # full width
        "\u00e1dmin",
        "a\u0301dmin",
        "adrnin",
        "adm1n",
        "admln",
        "\U0001d41a\U0001d41d\U0001d426\U0001d422\U0001d427",  # mathematical
    ],
)
def test_names_that_look_alike_share_a_key(other: str) -> None:
    assert name_key(other) == name_key("admin")


@pytest.mark.parametrize("other", ["admin2", "admins", "ad.min", "bob", "adm-in"])
def test_others_do_not(other: str) -> None:
    assert name_key(other) != name_key("admin")


@given(
    st.from_regex(r"[a-z][a-z0-9._-]{0,30}", fullmatch=True),
    st.sampled_from([("m", "rn"), ("o", "0"), ("l", "1"), ("i", "l"), ("w", "vv")]),
)
@example("vw", ("w", "vv"))
def test_two_letters_put_for_one_that_looks_like_them_change_no_key(name: str, pair: tuple[str, str]) -> None:
    assert name_key(name.replace(*pair)) == name_key(name)


@given(st.text(max_size=40))
def test_a_key_is_total_and_its_own_key(text: str) -> None:
    assert name_key(name_key(text)) == name_key(text)


@given(st.from_regex(r"[a-z][a-z0-9._-]{0,30}", fullmatch=True), st.data())
def test_a_letter_put_for_one_that_looks_like_it_changes_no_key(name: str, data: st.DataObject) -> None:
    # Of what NFKC makes another letter of (a lunate sigma becomes a final one), the name is kept as that.
    stays = {other: read for other, read in LOOKALIKES.items() if unicodedata.normalize("NFKC", other) == other}
    alike = {letter: [other for other, read in stays.items() if read == letter] for letter in set(name)}
    dressed = "".join(data.draw(st.sampled_from([letter, *alike[letter]])) for letter in name)
    assert name_key(dressed) == name_key(name)


@pytest.mark.parametrize(
    "bad", ["", " ", "a b", "a/b", "-a", ".a", "a\n", "a\0", "a\u202eb", "a" * 65, "a'--", 'a"', "a;b", "a%", "a\u200bb"]
)
def test_what_is_no_name_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="A user's name is"):
        normal_name(bad)


@given(st.text(max_size=80))
def test_a_name_that_is_taken_is_normal_and_stays_so(text: str) -> None:
    try:
        normal = normal_name(text)
    except ValueError:
        return
    assert normal_name(normal) == normal == unicodedata.normalize("NFKC", normal)
    assert name_key(normal)


@pytest.mark.parametrize(
    "bad", ["", "short", "a" * 40, "abcabcabcabcabc", "x" + "ada-lovelace" * 2, "x" * (LONGEST_PASSWORD + 1)]
)
def test_passwords_that_are_easily_guessed_are_refused(bad: str) -> None:
    with pytest.raises(Unprocessable):
        normal_password(bad, "ada")


def test_a_password_is_normal_whatever_keyboard_it_came_from() -> None:
    assert normal_password("cafe\u0301 au lait, s'il", "ada") == normal_password("café au lait, s'il", "ada")
    # One character that becomes eighteen: the bound is for what is hashed.
    assert bounded_password("\ufdfa" * 20) is None


def test_nobody_gives_more_than_they_hold() -> None:
    check_grant(actor(*KNOWN["viewer"]), ["viewer"], KNOWN)
    with pytest.raises(InsufficientScope) as refused:
        check_grant(actor(*(KNOWN["admin"] - {Scope.POLICY_APPROVE.value})), ["viewer", "admin"], KNOWN)
    assert refused.value.members == {"scope": "policy:approve"}
    with pytest.raises(Unprocessable):
        check_grant(actor(*KNOWN["admin"]), ["emperor"], KNOWN)
    with pytest.raises(Forbidden):
        check_grant(actor(*KNOWN["admin"], session_id="ses_" + "0" * 32), ["viewer"], KNOWN)
    # On some resources is less than on all.
    with pytest.raises(InsufficientScope):
        check_grant(actor(*(f"{scope}:a*" for scope in KNOWN["viewer"])), ["viewer"], KNOWN)


def test_a_code_names_its_tenant() -> None:
    code = written_invitation("acme-1", "A" * 43)
    assert tenant_of_invitation(code) == "acme-1"
    for bad in ("", code + "x", code[:-1], code.replace("acme-1", "ACME"), code.replace("acme-1", "../a"), code + "\n"):
        assert tenant_of_invitation(bad) is None


def test_subjects_that_are_people() -> None:
    assert is_user("usr_" + "0" * 32)
    for other in ("cli_" + "0" * 32, "usr_", "usr_" + "0" * 32 + "\n", "x usr_" + "0" * 32):
        assert not is_user(other)
