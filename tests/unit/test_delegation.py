"""Delegation: what a token gives on, and what ends with it. Random trees of tokens are compared with a plain model of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.tokens import JoseTokens, generate_signing_key
from domain.actors import Actor
from domain.capabilities import within
from domain.delegation import MAX_DEPTH, bound_to_session, budget_keys, delegate, holders, is_delegated, lifetime, lineage
from domain.errors import InsufficientScope, InvalidRequest
from domain.revocations import RevocationKind, named, refused

BEGAN = datetime(2026, 11, 25, 8, tzinfo=UTC)
SCOPES = ("session:read", "session:read:ses_a*", "session:read:ses_ab", "slm:call", "slm:call:x", "budget:write")
CLIENTS = ("cli_1", "cli_2", "cli_3")
HELD = {"cli_1": ("session:read", "slm:call", "budget:write"), "cli_2": ("session:read:ses_a*", "slm:call"), "cli_3": SCOPES}
SESSION = "ses_" + "0" * 32


def root(**changes: Any) -> Actor:
    values: dict[str, Any] = {
        "tenant_id": "demo",
        "subject": "alice",
        "client_id": "cli_1",
        "scopes": ("session:read", "slm:call"),
        "jti": "root",
        "issued_at": BEGAN,
        "expires_at": BEGAN + timedelta(seconds=900),
    }
    return Actor(**(values | changes))


def child(subject: Actor, **changes: Any) -> Actor:
    values: dict[str, Any] = {
        "client_id": "cli_3",
        "held": SCOPES,
        "actor": None,
        "wanted": (),
        "jti": f"{subject.jti}.1",
        "issued_at": BEGAN + timedelta(seconds=10),
        "seconds": 900,
    }
    return delegate(subject, **(values | changes))


@dataclass
class Node:
    """A token and the tokens it comes from, as the model sees it."""

    actor: Actor
    parents: tuple[Node, ...] = ()

    def above(self) -> Iterator[Node]:
        """Itself and all it comes from."""
        yield self
        for parent in self.parents:
            yield from parent.above()


@dataclass
class Tree:
    """Tokens as they were issued one after the other."""

    nodes: list[Node] = field(default_factory=list[Node])


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """A few clients' own tokens, and tokens delegated from any of the tokens that are there."""
    tree, now = Tree(), BEGAN
    for number in range(draw(st.integers(1, 3))):
        client = draw(st.sampled_from(CLIENTS))
        expires = now + timedelta(seconds=draw(st.integers(30, 900)))
        subject = draw(st.sampled_from(["alice", client]))
        own = root(subject=subject, client_id=client, scopes=HELD[client], jti=f"t{number}", issued_at=now, expires_at=expires)
        tree.nodes.append(Node(own))
    for number in range(draw(st.integers(1, 12))):
        now += timedelta(seconds=draw(st.integers(0, 20)))
        parent = draw(st.sampled_from(tree.nodes))
        acting = draw(st.one_of(st.none(), st.sampled_from([node for node in tree.nodes if not node.parents])))
        client = draw(st.sampled_from(CLIENTS))
        try:
            made = delegate(
                parent.actor,
                client_id=client,
                held=HELD[client],
                actor=acting.actor if acting else None,
                wanted=tuple(draw(st.lists(st.sampled_from(SCOPES), max_size=2))),
                jti=f"d{number}",
                issued_at=now,
                seconds=draw(st.integers(1, 2000)),
            )
        except (InvalidRequest, InsufficientScope):
            continue
        tree.nodes.append(Node(made, (parent,) if acting is None else (parent, acting)))
    return tree


@given(trees())
def test_a_child_is_within_all_that_it_comes_from(tree: Tree) -> None:
    for node in tree.nodes:
        made = node.actor
        assert len(made.act) <= MAX_DEPTH
        for above in (each.actor for each in node.above() if each is not node):
            assert all(within(scope, above.scopes) for scope in made.scopes)
            assert made.expires_at is not None
            assert above.expires_at is not None
            assert made.expires_at <= above.expires_at
            assert made.tenant_id == above.tenant_id
        for client in holders(made):
            assert all(within(scope, HELD[client]) for scope in made.scopes)
        if node.parents:
            assert made.subject == node.parents[0].actor.subject
            assert made.act[1:] == node.parents[0].actor.act
            assert lifetime(made) > 0
        assert set(lineage(made)) == {each.actor.jti for each in node.above()}
        assert {key.scope_id for key in budget_keys(made)} == set(lineage(made))
        assert is_delegated(made) is bool(node.parents)


@given(trees(), st.data())
def test_a_revocation_stops_exactly_what_hangs_on_it(tree: Tree, data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(RevocationKind))
    value = data.draw(
        {
            RevocationKind.JTI: st.sampled_from([node.actor.jti for node in tree.nodes]),
            RevocationKind.CLIENT: st.sampled_from(CLIENTS),
            RevocationKind.SUBJECT: st.sampled_from(["alice", *CLIENTS]),
            RevocationKind.ALL: st.none(),
        }[kind]
    )
    near = data.draw(st.sampled_from([node.actor.issued_at or BEGAN for node in tree.nodes]))
    before = near + timedelta(seconds=data.draw(st.integers(-1, 1)), milliseconds=data.draw(st.integers(0, 999)))

    def meant(actor: Actor) -> bool:
        if kind is RevocationKind.JTI:
            return actor.jti == value
        names = {RevocationKind.CLIENT: {actor.client_id}, RevocationKind.SUBJECT: {actor.subject, *actor.act}}
        assert actor.issued_at is not None
        return actor.issued_at <= before and (kind is RevocationKind.ALL or value in names[kind])

    for node in tree.nodes:
        stopped = any(meant(each.actor) for each in node.above())
        assert refused(node.actor, {(kind, value): before}) is stopped


KEYS = {"keys": [generate_signing_key()]}


def tokens_at(moment: datetime) -> JoseTokens:
    return JoseTokens(KEYS, issuer="https://gateway.example", audience="a", lifetime_seconds=900, clock=moment.timestamp)


@given(trees())
def test_a_token_tells_all_of_it(tree: Tree) -> None:
    for node in tree.nodes:
        assert node.actor.issued_at is not None
        tokens = tokens_at(node.actor.issued_at)
        assert tokens.verify(tokens.sign(node.actor)) == node.actor


def test_one_that_is_too_large_to_be_taken_again_is_not_signed() -> None:
    with pytest.raises(ValueError, match="8192"):
        tokens_at(BEGAN).sign(root(scopes=tuple(f"session:read:{'x' * 100}{number}" for number in range(80))))
    with pytest.raises(ValueError, match="when it expires"):
        tokens_at(BEGAN).sign(root(expires_at=None))


def test_it_goes_four_deep_and_no_deeper() -> None:
    token = root()
    for depth in range(MAX_DEPTH):
        token = child(token, jti=f"d{depth}")
    assert token.act == ("cli_3",) * 4
    assert lineage(token) == ("d3", "d2", "d1", "d0", "root")
    with pytest.raises(InvalidRequest, match="4 times"):
        child(token)


@pytest.mark.parametrize(
    ("wanted", "held"),
    [
        (("budget:write",), SCOPES),
        (("session:read", "budget:write"), SCOPES),
        (("session:read:*", "slm:call"), ("session:read:ses_a*", "slm:call")),
        (("nonsense",), SCOPES),
        (("session:read",), ()),
        ((), ("budget:write",)),
    ],
)
def test_scopes_that_widen_are_refused(wanted: tuple[str, ...], held: tuple[str, ...]) -> None:
    with pytest.raises(InsufficientScope):
        child(root(), wanted=wanted, held=held)


def test_without_scopes_it_is_what_both_hold() -> None:
    assert child(root(), held=("slm:call", "budget:write")).scopes == ("slm:call",)
    assert child(root(), actor=root(jti="own", client_id="cli_2", scopes=("session:read",))).scopes == ("session:read",)


def test_an_actors_own_token_names_who_acts_and_is_a_parent() -> None:
    agent = root(jti="own", subject="agent", client_id="cli_2", expires_at=BEGAN + timedelta(seconds=60))
    made = child(root(), actor=agent)
    assert (made.subject, made.act, made.client_id) == ("alice", ("agent",), "cli_3")
    assert lineage(made) == ("root.1", "root", "own")
    assert lifetime(made) == 50


@pytest.mark.parametrize(
    ("subject", "actor"),
    [
        (root(session_id=SESSION), None),
        (root(key_id="key_" + "0" * 32), None),
        (root(jti="key_" + "0" * 32), None),
        (root(expires_at=BEGAN + timedelta(seconds=10)), None),
        (root(issued_at=None), None),
        (root(), root(jti="own", tenant_id="other")),
        (root(), root(jti="own", session_id=SESSION)),
        (root(), root(jti="own", key_id="key_" + "0" * 32)),
        (root(), root(jti="own", act=("somebody",))),
        (root(), root(jti="own", expires_at=BEGAN)),
        (root(), root()),
        (child(root()), root()),
    ],
)
def test_tokens_that_cannot_be_delegated_are_refused(subject: Actor, actor: Actor | None) -> None:
    with pytest.raises(InvalidRequest):
        child(subject, actor=actor)


def test_a_sessions_token_keeps_the_chain_it_is_made_in() -> None:
    made = child(root(), seconds=30)
    bound = bound_to_session(made, SESSION, ("session:read",), "bound", BEGAN + timedelta(seconds=15), 900)
    assert (bound.act, bound.session_id, bound.client_id) == (made.act, SESSION, made.client_id)
    assert lineage(bound) == ("bound", "root.1", "root")
    assert bound.expires_at == made.expires_at
    with pytest.raises(InvalidRequest):
        bound_to_session(made, SESSION, ("session:read",), "bound", BEGAN + timedelta(seconds=40), 900)


def test_what_was_issued_after_a_revocation_from_a_token_before_it_is_refused_too() -> None:
    """As happens when the two meet: the exchange saw the parent stand, and the child is of the next second."""
    at = [BEGAN + timedelta(seconds=seconds) for seconds in (0, 10, 20)]
    parent = child(root(issued_at=at[0]), client_id="cli_2", issued_at=at[1])
    made = child(parent, issued_at=at[2])
    for name in ((RevocationKind.CLIENT, "cli_2"), (RevocationKind.SUBJECT, "cli_2"), (RevocationKind.ALL, None)):
        assert refused(made, {name: at[1]})
        assert not refused(made, {name: at[0] - timedelta(seconds=1)})
    fresh = child(root(issued_at=at[0]), client_id="cli_2", issued_at=at[2])
    assert not refused(fresh, {(RevocationKind.CLIENT, "cli_2"): at[1], (RevocationKind.SUBJECT, "cli_2"): at[1]})


def test_what_does_not_say_when_it_was_issued_is_meant_by_every_revocation() -> None:
    unknown = root(issued_at=None)
    assert named(unknown)[RevocationKind.ALL, None] is None
    assert refused(unknown, {(RevocationKind.SUBJECT, "alice"): BEGAN - timedelta(days=1)})
    assert not refused(unknown, {(RevocationKind.SUBJECT, "bob"): BEGAN})
