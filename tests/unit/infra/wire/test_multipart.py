"""Forms, read as browsers and curl write them; what is none is refused in words, whatever it is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.infra.wire.multipart import HEAD_LIMIT_BYTES, PARTS_LIMIT, MultipartBroken, Part, boundary_of, parts_of

B = b"xyz"


def a_part(content: bytes, *lines: str) -> bytes:
    head = "\r\n".join(lines or ('Content-Disposition: form-data; name="file"; filename="a.txt"',))
    return b"--xyz\r\n" + head.encode() + b"\r\n\r\n" + content + b"\r\n"


END = b"--xyz--\r\n"


def test_parts_are_read_with_their_names_and_types() -> None:
    body = a_part(
        b"one\r\ntwo", 'content-disposition: form-data; name="file"; filename="a.txt"', "Content-Type: text/x"
    )
    body += a_part(b"sha256:0", 'Content-Disposition: form-data; name="digest"') + END

    assert parts_of(body, B) == [Part("file", b"one\r\ntwo", "a.txt", "text/x"), Part("digest", b"sha256:0")]


@pytest.mark.parametrize(
    "content",
    [b"", b"\r\n", b"\r\n--xy", b"--xyz", b"\r\n--xyzw\r\n", b"\0\xff" * 1000, b"\r\n\r\n", b"\n--xyz--\n"],
)
def test_content_is_what_stands_between(content: bytes) -> None:
    (part,) = parts_of(a_part(content) + END, B)

    assert part.content == content


def test_what_is_around_the_form_is_nobodys() -> None:
    body = b"a preamble\r\n" + a_part(b"x") + b"--xyz--  \r\nan epilogue --xyz\r\n"

    assert [part.content for part in parts_of(body, B)] == [b"x"]


def test_blanks_may_stand_behind_a_boundary() -> None:
    assert parts_of(a_part(b"x").replace(b"--xyz\r\n", b"--xyz \t\r\n") + END, B)[0].content == b"x"


def test_names_are_read_as_browsers_write_them() -> None:
    head = 'Content-Disposition: form-data; name="file"; filename="K\u00e4se %22a%22.txt"'

    assert parts_of(a_part(b"", head) + END, B)[0].file_name == 'K\u00e4se "a".txt'


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"--xyz",
        b"--xyz--"[:-1],
        END[:-3],
        a_part(b"x"),
        a_part(b"x")[:-4],
        b"--xyz\r\n\r\nx\r\n--xyz--\r\n",
        b"--xyz\r\nX: y\r\n\r\nx\r\n--xyz--\r\n",
        b"--xyz\r\nContent-Disposition: form-data\r\n\r\nx\r\n--xyz--\r\n",
        b"--xyz\nContent-Disposition: form-data; name=file\n\nx\n--xyz--\n",
        b"--xyz junk\r\n\r\nx\r\n--xyz--\r\n",
        b"--xyz\r\n" + b"X" * (HEAD_LIMIT_BYTES + 1) + b"\r\n\r\nx\r\n--xyz--\r\n",
        a_part(b"x") * (PARTS_LIMIT + 1) + END,
        b"{}",
    ],
    ids=range(14),
)
def test_what_is_no_form_is_refused(body: bytes) -> None:
    with pytest.raises(MultipartBroken):
        parts_of(body, B)


def test_a_form_of_nothing_has_no_parts() -> None:
    assert parts_of(END, B) == []


@given(st.binary(max_size=60), st.lists(st.integers(0, 200), max_size=6))
def test_nothing_that_is_sent_is_more_than_refused(noise: bytes, cuts: list[int]) -> None:
    body = a_part(noise) + a_part(b"y") + END
    for cut in cuts:
        body = body[:cut] + noise + body[cut + 1 :]

    try:
        parts = parts_of(body, B)
    except MultipartBroken:
        return
    assert all(isinstance(part, Part) for part in parts)


@pytest.mark.parametrize(
    ("content_type", "boundary"),
    [
        ("multipart/form-data; boundary=xyz", b"xyz"),
        ('multipart/form-data; charset=utf-8; boundary="x y z"', b"x y z"),
        ("multipart/form-data; BOUNDARY=" + "x" * 70, b"x" * 70),
    ],
)
def test_a_boundary_is_read(content_type: str, boundary: bytes) -> None:
    assert boundary_of(content_type) == boundary


@pytest.mark.parametrize(
    "parameter", ["", "boundary=", "boundary=" + "x" * 71, 'boundary="x "', "boundary=ä", "boundary=a*b"]
)
def test_a_boundary_that_cannot_be_used_is_refused(parameter: str) -> None:
    with pytest.raises(MultipartBroken):
        boundary_of(f"multipart/form-data; {parameter}")
