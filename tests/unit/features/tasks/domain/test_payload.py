import pytest

from app.features.tasks.domain.payload import MAX_PUT_IN_BYTES, NOTE, Filled, PayloadUnreadable, fill, read_payload
from app.kernel.values import Json

JSON_TYPE = "application/json; charset=utf-8"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("content_type", "body", "payload"),
    [
        (JSON_TYPE, b'{"a": [1, null]}', {"a": [1, None]}),
        ("application/cloudevents+json", b"7", 7),
        (FORM, b"a=1&b=&c=%20x", {"a": "1", "b": "", "c": " x"}),
        (FORM, b"payload=%7B%22a%22%3A1%7D", {"a": 1}),
        (FORM, b"payload=hello", {"payload": "hello"}),
        (FORM, b"payload=%7B%7D&a=1", {"payload": "{}", "a": "1"}),
        ("text/plain", b"{}", "{}"),
        ("", "gr\u00fcn".encode(), "gr\u00fcn"),
    ],
)
def test_a_body_is_read_by_its_type(content_type: str, body: bytes, payload: Json) -> None:
    assert read_payload(content_type, body) == payload


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (JSON_TYPE, b"{"),
        (JSON_TYPE, b""),
        (JSON_TYPE, b"[" * 100_000),
        (JSON_TYPE, b"[" * 40 + b"]" * 40),
        (JSON_TYPE, b"1e999"),
        (JSON_TYPE, b'"\\ud800"'),
        (JSON_TYPE, b'"\\u0000"'),
        (JSON_TYPE, b"NaN"),
        (JSON_TYPE, b"9" * 30),
        ("text/plain", b"\xff"),
        ("text/plain", b"\x00"),
        (FORM, b"&".join(b"a%d=1" % number for number in range(201))),
        (FORM, b"payload=%7B"),
    ],
)
def test_what_cannot_be_read_or_kept_is_refused(content_type: str, body: bytes) -> None:
    with pytest.raises(PayloadUnreadable):
        read_payload(content_type, body)


@pytest.mark.parametrize(
    ("prompt", "payload", "filled"),
    [
        ("Sum up {{ payload }}!", {"a": "x"}, f'Sum up {{"a": "x"}}!\n\n{NOTE}'),
        ("{{payload.a}} {{ payload.b.1 }}", {"a": "x", "b": [0, 1]}, f'"x" 1\n\n{NOTE}'),
        ("{{ payload }}", "line\nline", f'"line\\nline"\n\n{NOTE}'),
        ("{{ payload.a }}", {"a": "gr\u00fcn"}, f'"gr\u00fcn"\n\n{NOTE}'),
        ("{{ payload.a }}", {"a": "{{ payload.b }}", "b": "x"}, f'"{{{{ payload.b }}}}"\n\n{NOTE}'),
        ("Just do it", {"a": 1}, f'Just do it\n\nThe webhook\'s payload: {{"a": 1}}\n\n{NOTE}'),
        (
            "{{ other }} {{ payload.a + 1 }}",
            7,
            f"{{{{ other }}}} {{{{ payload.a + 1 }}}}\n\nThe webhook's payload: 7\n\n{NOTE}",
        ),
    ],
)
def test_a_payload_is_put_in_as_json(prompt: str, payload: Json, filled: str) -> None:
    assert fill(prompt, payload) == Filled(filled)


def test_what_is_not_there_leaves_an_empty_place_and_is_told() -> None:
    filled = fill("[{{ payload.a.b }}] [{{ payload.a.b }}] [{{ payload.c }}]", {"a": 7})

    assert filled == Filled("[] [] []", ("payload.a.b", "payload.c"))


def test_what_is_put_in_is_bounded_over_all_places() -> None:
    payload = {"a": "\u00e9" * MAX_PUT_IN_BYTES, "b": "x"}

    filled = fill("{{ payload.b }} {{ payload.a }} {{ payload.b }}", payload)

    assert filled.prompt.startswith('"x" "\u00e9\u00e9')
    assert filled.prompt.count("[cut off]") == 2
    assert len(filled.prompt.encode()) < MAX_PUT_IN_BYTES + 1000
