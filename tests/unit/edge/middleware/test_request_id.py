import pytest

from app.edge.middleware.request_id import AssignRequestId
from tests.unit.edge.parts import a_record

STAGE = AssignRequestId()


def assigned(*fields: tuple[str, str], trusted: bool) -> str:
    record = a_record("GET", "/", *fields, trusted=trusted)
    STAGE(record)
    return record.id


@pytest.mark.parametrize("given", ["12345678", "a-b_c.d:e", "x" * 128, "0af7651916cd43dd8448eb211c80319c"])
def test_a_trusted_peers_id_is_kept(given: str) -> None:
    assert assigned(("X-Request-Id", given), trusted=True) == given


@pytest.mark.parametrize(
    "given",
    ["", "1234567", "x" * 129, "a b c d e f", "a\tbcdefgh", "12345678\u00e9", "a,b,c,d,e", "<script>", "12345678\n"],
)
def test_an_ill_formed_id_is_replaced(given: str) -> None:
    assert assigned(("X-Request-Id", given), trusted=True) != given


def test_a_strangers_id_is_replaced() -> None:
    assert assigned(("X-Request-Id", "12345678"), trusted=False) != "12345678"


@pytest.mark.parametrize("name", ["X_Request_Id", "X-Requestid"])
def test_another_spelling_is_not_the_field(name: str) -> None:
    assert assigned((name, "12345678"), trusted=True) != "12345678"


def test_new_ids_are_trace_ids_and_never_the_same() -> None:
    ids = [assigned(trusted=False) for _ in range(1000)]

    assert len(set(ids)) == 1000
    assert {len(one) for one in ids} == {32}
    assert all(int(one, 16) for one in ids)


def test_two_processes_give_different_ids() -> None:
    first, second = a_record(), a_record()

    AssignRequestId()(first)
    AssignRequestId()(second)

    assert first.id != second.id
