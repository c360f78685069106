"""Bodies in a bare Litestar: a value of another type is wrong, wherever it stands, and is named."""

from typing import Any

import pytest
from litestar import Litestar, Request, Response, post
from litestar.datastructures import State
from litestar.params import JSONBody
from litestar.testing import TestClient
from msgspec import Struct

from app.surfaces.api.bodies import StrictRequest
from app.surfaces.api.refusals import fault_of


class Inner(Struct, forbid_unknown_fields=True):
    flag: bool = False


class Body(Struct, forbid_unknown_fields=True):
    number: int = 0
    flag: bool = False
    text: str | None = None
    inner: Inner | None = None
    anything: dict[str, object] = {}


@post("/", sync_to_thread=False)
def read(data: JSONBody[Body]) -> Body:
    return data


def sent(body: bytes) -> Any:  # JSON has any shape
    """What the handler was handed; of a refusal its type, and field by field what is wrong."""

    def tell(request: Request[None, None, State], error: Exception) -> Response[list[object]]:
        del request
        fault = fault_of(error)
        return Response([fault.type, *([one.field, one.message] for one in fault.errors)], status_code=400)

    app = Litestar([read], request_class=StrictRequest, exception_handlers={Exception: tell}, openapi_config=None)
    with TestClient(app) as client:
        return client.post("/", content=body).json()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"number": "1"}', "number"),
        (b'{"number": true}', "number"),
        (b'{"number": 1.5}', "number"),
        (b'{"number": null}', "number"),
        (b'{"flag": 0}', "flag"),
        (b'{"flag": "true"}', "flag"),
        (b'{"text": 1}', "text"),
        (b'{"inner": {"flag": 1}}', "inner.flag"),
        (b'{"anything": []}', "anything"),
        (b'{"number": "1", "number": 1}', "number"),
        (b"[]", ""),
        (b"1", ""),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_name(body: bytes, field: str) -> None:
    type_, (named, message) = sent(body)

    assert (type_, named) == ("validation-failed", field)
    assert message.startswith("Expected ")


@pytest.mark.parametrize("name", ["colour", "a - at `$.number`", "`", "$.x"])
def test_an_unknown_field_is_named_whatever_it_is_called(name: str) -> None:
    assert sent(f'{{"{name}": 1}}'.encode()) == ["validation-failed", [name, "is not a known field"]]
    assert sent(f'{{"inner": {{"{name}": 1}}}}'.encode()) == [
        "validation-failed",
        [f"inner.{name}", "is not a known field"],
    ]


@pytest.mark.parametrize("body", [b'{"number": 1', b'{"text": "\xff"}', b"nonsense", b'{"text": "\\ud800"}'])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    assert sent(body) == ["malformed"]


def test_no_body_at_all_is_missing() -> None:
    assert sent(b"") == ["validation-failed", ["", "is missing"]]


def test_what_fits_is_handed_over() -> None:
    body = b'{"number": 7, "flag": true, "text": null, "inner": {"flag": true}, "anything": {"a": [1, "1", 1.5]}}'

    assert sent(body) == {
        "number": 7,
        "flag": True,
        "text": None,
        "inner": {"flag": True},
        "anything": {"a": [1, "1", 1.5]},
    }
