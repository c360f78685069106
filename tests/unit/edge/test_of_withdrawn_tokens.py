"""What the verifier does about a withdrawn token that it remembers, or is shown for the first time."""

import pytest

from app.edge.claims import TokenRules
from app.edge.faults import TokenInvalid
from app.edge.keys import KeySet, read_pem
from app.edge.revocations import Revocations
from app.edge.tokens import TokenVerifier
from app.kernel.revocation import Mark, Revocation
from tests.builders import ROLES, a_token, public_pem
from tests.unit.edge.parts import NOW_S, StillClock
from tests.unit.edge.test_revocations import a_revocation, at


def a_verifier() -> TokenVerifier:
    keys = KeySet(any_id=read_pem(public_pem()))
    return TokenVerifier(TokenRules(roles=ROLES), lambda: keys, StillClock(), Revocations(StillClock()))


def of(sub: str = "ann", issued: float | None = -10, **claims: object) -> bytes:
    issued_at = None if issued is None else NOW_S + issued
    return a_token(sub=sub, iat=issued_at, exp=NOW_S + 900, **claims).encode()


@pytest.mark.parametrize("revocation", [a_revocation("ann"), a_revocation("t1", Mark.JWT_ID)], ids=["sub", "jti"])
@pytest.mark.parametrize("is_remembered", [True, False], ids=["remembered", "new"])
def test_a_withdrawn_token_is_refused(revocation: Revocation, *, is_remembered: bool) -> None:
    verifier, token = a_verifier(), of(jti="t1")
    if is_remembered:
        verifier.verify(token)

    verifier.revocations.apply([revocation])

    for _ in range(2):  # not remembered by being refused either
        with pytest.raises(TokenInvalid) as refused:
            verifier.verify(token)
        assert refused.value.detail == "The token was withdrawn; log in again."


def test_a_token_that_does_not_say_when_it_was_issued_counts_as_issued_before() -> None:
    verifier = a_verifier()
    verifier.revocations.apply([a_revocation("ann")])

    with pytest.raises(TokenInvalid):
        verifier.verify(of(issued=None))


def test_a_token_issued_after_it_is_good_to_the_part_of_a_second() -> None:
    verifier = a_verifier()
    verifier.revocations.apply([a_revocation("ann", before=at(-0.5))])

    assert verifier.verify(of(issued=-0.25)).user_id == "ann"
    with pytest.raises(TokenInvalid):
        verifier.verify(of(issued=-0.75))


def test_only_those_who_may_be_meant_are_forgotten() -> None:
    verifier = a_verifier()
    ann, ben = of("ann", jti="t1"), of("ben", jti="t2")
    remembered = verifier.verify(ben)
    verifier.verify(ann)

    verifier.revocations.apply([a_revocation("ann")])

    assert verifier.verify(ben) is remembered


def test_a_lifted_revocation_lets_the_token_in_again() -> None:
    verifier, token = a_verifier(), of()
    verifier.revocations.apply([a_revocation("ann", number=1)])

    verifier.revocations.apply([a_revocation("ann", number=2, lifted=True)])

    assert verifier.verify(token).user_id == "ann"
