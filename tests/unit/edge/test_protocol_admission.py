import pytest

from app.edge.protocol_admission import Admission


def test_an_address_may_hold_so_many_and_no_more() -> None:
    admission = Admission(limit=10, limit_per_address=2)

    admitted = [admission.admit("192.0.2.1", is_trusted=False) for _ in range(3)]

    assert admitted == [True, True, False]
    assert admission.admit("192.0.2.2", is_trusted=False)


def test_who_leaves_makes_room() -> None:
    admission = Admission(limit=10, limit_per_address=1)
    admission.admit("192.0.2.1", is_trusted=False)

    admission.leave("192.0.2.1")

    assert admission.opened == 0
    assert admission.admit("192.0.2.1", is_trusted=False)


def test_a_trusted_peer_speaks_for_many() -> None:
    admission = Admission(limit=10, limit_per_address=1)

    assert all(admission.admit("10.0.0.1", is_trusted=True) for _ in range(10))


@pytest.mark.parametrize("is_trusted", [True, False])
def test_the_limit_of_the_worker_is_everybodys(is_trusted: bool) -> None:  # noqa: FBT001 - a table's column
    admission = Admission(limit=2, limit_per_address=5)
    admission.admit("192.0.2.1", is_trusted=False)
    admission.admit("192.0.2.2", is_trusted=False)

    assert not admission.admit("192.0.2.3", is_trusted=is_trusted)


def test_nothing_is_kept_of_who_left() -> None:
    admission = Admission(limit=100_000, limit_per_address=5)
    for number in range(1000):
        admission.admit(f"192.0.2.{number}", is_trusted=False)
        admission.leave(f"192.0.2.{number}")

    assert admission.opened == 0
    assert not admission._by_address
