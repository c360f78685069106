"""Arguments become a request that leads where the template says, and answers become words a model can act on."""

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.agents.contract import ToolRefused
from app.agents.front_door import FleetAnswer
from app.agents.tools.requests import as_told, fields, filled

TEMPLATE = "/api/v1/things/{id}/parts/{part}"


@pytest.mark.parametrize(
    ("value", "segment"),
    [
        (7, "7"),
        ("a b", "a%20b"),
        ("a/../b", "a%2F..%2Fb"),
        ("?x=1#y", "%3Fx%3D1%23y"),
        ("..%2f", "..%252f"),
        (True, "true"),
    ],
    ids=["number", "space", "slashes", "query", "escaped", "boolean"],
)
def test_a_value_fills_one_segment(value: object, segment: str) -> None:
    assert filled(TEMPLATE, {"id": value, "part": "p"}) == f"/api/v1/things/{segment}/parts/p"


@pytest.mark.parametrize("value", ["", ".", "..", "a\nb", "a\0", "x" * 2001, None, [1], {"a": 1}])
def test_what_cannot_stand_in_a_path_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="id"):
        filled(TEMPLATE, {"id": value, "part": "p"})


@given(st.text(min_size=1, max_size=60))
def test_no_text_leaves_its_segment(text: str) -> None:
    try:
        path = filled(TEMPLATE, {"id": text, "part": "p"})
    except ValueError:
        return

    before, between = path.split("/parts/")
    assert between == "p"
    assert before.startswith("/api/v1/things/")
    assert "/" not in before.removeprefix("/api/v1/things/")
    assert not set(path) & set("?#\\ \r\n")


def test_a_list_is_a_field_several_times_and_nothing_is_left_out() -> None:
    assert fields({"a": [1, "b"], "c": None, "d": False}) == {"a": ["1", "b"], "d": "false"}


def answering(status: int, body: object = None, media: str = "application/json") -> FleetAnswer:
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    return FleetAnswer(status, content, {"content-type": media})


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (answering(200, {"a": 1}), {"a": 1}),
        (answering(204), "Done (204)."),
        (answering(200, b"hello", "text/plain"), "hello"),
        (answering(200, b"{broken"), "{broken"),
    ],
    ids=["json", "nothing", "text", "broken"],
)
def test_a_good_answer_is_its_content(answer: FleetAnswer, told: object) -> None:
    assert as_told(answer) == told


PROBLEM: Mapping[str, object] = {"type": "x", "detail": "no", "errors": [{"field": "name"}], "trace": "inner"}


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answering(400, PROBLEM, "application/problem+json"), "refused .status 400.: .*no.*name"),
        (answering(403), "may not do this .status 403.\\.$"),
        (answering(302, {}), "leads elsewhere"),
        (answering(500, b"\x00\x01", "application/octet-stream"), "out of order.*status 500.\\.$"),
        (answering(200, b"\x00", "image/png"), "no text but image/png"),
    ],
    ids=["problem", "forbidden", "redirect", "broken", "image"],
)
def test_any_other_answer_is_a_refusal_in_words(answer: FleetAnswer, words: str) -> None:
    with pytest.raises(ToolRefused, match=words) as refused:
        as_told(answer)

    assert "inner" not in refused.value.reason
