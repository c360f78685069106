import json

import pytest

from app.infra.wire.problems import CONTENT_TYPE, STATUS, STATUS_BY_TYPE, problem_of, status_of
from app.kernel.errors import (
    Broken,
    Conflict,
    Fault,
    FieldError,
    Forbidden,
    Kind,
    Malformed,
    MethodNotAllowed,
    NotFound,
    RateLimited,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unavailable,
)

KINDS: dict[type[Fault], int] = {
    Malformed: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    Conflict: 409,
    TooLarge: 413,
    RateLimited: 429,
    Fault: 500,
    Broken: 502,
    Unavailable: 503,
    TimedOut: 504,
}


class TeapotUpset(Conflict):
    type = "teapot-upset"
    title = "The teapot is upset"


@pytest.mark.parametrize(("fault", "status"), KINDS.items(), ids=lambda value: getattr(value, "__name__", value))
def test_every_kind_has_its_status(fault: type[Fault], status: int) -> None:
    answer = problem_of(fault(), instance="/", request_id="r1")

    assert answer.status == status_of(fault) == json.loads(answer.body)["status"] == status


def test_no_kind_is_without_a_status() -> None:
    assert set(STATUS) == set(Kind) == {fault.kind for fault in KINDS}


@pytest.mark.parametrize("type_", STATUS_BY_TYPE)
def test_some_facts_have_a_status_of_their_own(type_: str) -> None:
    fact = type("Fact", (Malformed,), {"type": type_})

    assert status_of(fact()) == STATUS_BY_TYPE[type_] != STATUS[Kind.MALFORMED]


def test_a_document_says_what_a_client_needs() -> None:
    answer = problem_of(TeapotUpset("It is empty."), instance="/tea", request_id="r1")

    assert answer.headers == {"content-type": CONTENT_TYPE}
    assert json.loads(answer.body) == {
        "type": "teapot-upset",
        "title": "The teapot is upset",
        "status": 409,
        "detail": "It is empty.",
        "instance": "/tea",
        "request_id": "r1",
    }


def test_without_a_detail_the_title_stands_for_it() -> None:
    answer = problem_of(TeapotUpset(), instance="/tea", request_id="r1")

    assert json.loads(answer.body)["detail"] == "The teapot is upset"


def test_fields_are_listed() -> None:
    fault = Malformed(errors=[FieldError("a.b", "is missing"), FieldError("", "is too long")])

    answer = problem_of(fault, instance="/", request_id="r1")

    assert json.loads(answer.body)["errors"] == [
        {"field": "a.b", "message": "is missing"},
        {"field": "", "message": "is too long"},
    ]


def test_what_a_fault_adds_stands_beside_the_rest_and_replaces_nothing() -> None:
    answer = problem_of(TeapotUpset(members={"pot": "7", "status": "200"}), instance="/tea", request_id="r1")

    document = json.loads(answer.body)
    assert (document["pot"], document["status"], document["type"]) == ("7", 409, "teapot-upset")


def test_evidence_stays_with_us() -> None:
    answer = problem_of(TeapotUpset(evidence={"cause": "swordfish"}), instance="/", request_id="r1")

    assert b"swordfish" not in answer.body


@pytest.mark.parametrize(
    ("fault", "scheme"),
    [
        (Unauthenticated(), "Bearer"),
        (Unauthenticated(headers={"www-authenticate": 'Bearer error="invalid_token"'}), 'Bearer error="invalid_token"'),
        (Forbidden(), None),
    ],
)
def test_only_who_is_not_known_is_asked_for_a_token(fault: Fault, scheme: str | None) -> None:
    assert problem_of(fault, instance="/", request_id="r1").headers.get("www-authenticate") == scheme


def test_headers_of_a_fault_go_out_with_it() -> None:
    answer = problem_of(Unavailable(headers={"retry-after": "5"}), instance="/", request_id="r1")

    assert answer.headers["retry-after"] == "5"
