"""JSON-RPC messages are read strictly, and answered under their id."""

import json

import pytest

from app.infra.wire.jsonrpc import INVALID_REQUEST, Call, Notification, Refused, read, write_error, write_result


def test_a_request_is_a_call_and_one_without_an_id_a_notification() -> None:
    assert read(b'{"jsonrpc":"2.0","id":"a","method":"m","params":{"x":1}}') == Call("a", "m", {"x": 1})
    assert read(b'{"jsonrpc":"2.0","method":"m"}') == Notification("m", {})


@pytest.mark.parametrize("id_", ["true", "null", "1.5", "[]", "{}"])
def test_an_id_is_a_text_or_a_whole_number(id_: str) -> None:
    with pytest.raises(Refused) as refused:
        read(f'{{"jsonrpc":"2.0","id":{id_},"method":"m"}}'.encode())

    assert (refused.value.code, refused.value.id) == (INVALID_REQUEST, None)


def test_answers_name_the_request() -> None:
    assert json.loads(write_result(1, {"a": 2})) == {"jsonrpc": "2.0", "id": 1, "result": {"a": 2}}
    assert json.loads(write_error(Refused(-1, "no", id_="b", more=[3]))) == {
        "jsonrpc": "2.0", "id": "b", "error": {"code": -1, "message": "no", "data": [3]},
    }  # fmt: skip
