import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.edge.routing import RowIndex, as_understood, as_written, path_flaw, query_flaw

ALLOWED = [
    "/",
    "/a",
    "/a/",
    "/a.b/c-d_e~f/@me:x,y=1+2!$'()*&",
    "/...",
    "/a..b",
    "/.well-known/jwks.json",
    "/a/.hidden",
    "/..a/a..",
    "/caf%C3%A9",
    "/a%20b",
    "/100%25",
    "/a;v=1/b",
    "/%3Fx%23y",
    "/%5Bx%5D",
]
REFUSED = [
    "",
    "a",
    "*",
    "http://evil/a",
    "evil:443",
    "//",
    "//evil/a",
    "/a//b",
    "/a//",
    "/;x",
    "/a/;x/b",
    "/.",
    "/..",
    "/a/.",
    "/a/..",
    "/a/../b",
    "/a/./b",
    "/a/%2e/b",
    "/a/%2E%2e/b",
    "/a/.%2e/b",
    "/a/..;x/b",
    "/a/..;/b",
    "/a/.;x",
    "/a/%2e%2e%3bx/b",
    "/a/..%3Bx",
    "/a\\b",
    "/a%5cb",
    "/a%5Cb",
    "/a%2fb",
    "/a%2Fb",
    "/a%00b",
    "/a%0ab",
    "/a%0D%0Ab",
    "/a%1fb",
    "/a%7fb",
    "/a%",
    "/a%2",
    "/a%zz",
    "/a%2gb",
    "/a b",
    "/a\tb",
    "/a\nb",
    "/a\n",
    "/a\x7fb",
    "/a#b",
    "/a?b",
    "/caf\u00e9",
    '/a"b',
    "/a<b>",
    "/a[b]",
    "/a{b}",
    "/a|b",
    "/a^b",
    "/a`b",
    "/%c0%ae%c0%ae/b",
    "/%e0%80%ae/b",
    "/%ff",
    "/%ed%a0%80",
]

SEGMENTS = st.sampled_from(["a", "b", "c", "ab", "a.b", "%61", "%40", "@", "b;x", "caf%C3%A9", ""])
PATHS = st.lists(SEGMENTS, max_size=6).map(lambda parts: "/" + "/".join(parts))
ROW_PATHS = PATHS.filter(lambda path: path_flaw(path.encode()) is None and path == as_written(path))


@pytest.mark.parametrize("path", ALLOWED)
def test_a_path_with_one_meaning_is_passed_on(path: str) -> None:
    assert path_flaw(path.encode()) is None


@pytest.mark.parametrize("path", REFUSED)
def test_a_path_two_parsers_could_read_differently_is_refused(path: str) -> None:
    assert path_flaw(path.encode("latin-1")) is not None


@pytest.mark.parametrize("path", [path for path in REFUSED if "%2f" not in path.lower()])
def test_allowing_encoded_slashes_allows_nothing_else(path: str) -> None:
    assert path_flaw(path.encode("latin-1"), encoded_slashes=True) is not None


@pytest.mark.parametrize("path", ["/a%2fb", "/a%2Fb/c"])
def test_encoded_slashes_can_be_allowed(path: str) -> None:
    assert path_flaw(path.encode(), encoded_slashes=True) is None


@pytest.mark.parametrize(
    "path", ["/a%2f..%2fb", "/a%2f%2e", "/%2e%2e%2fa", "/a%2f/b", "/a/%2fb", "/a%2f", "/%2f", "/a%2f%2fb"]
)
def test_no_dot_or_empty_segment_hides_behind_an_encoded_slash(path: str) -> None:
    assert path_flaw(path.encode(), encoded_slashes=True) is not None


@given(st.binary(max_size=40))
def test_what_passes_means_the_same_to_whoever_decodes_it(tail: bytes) -> None:
    path = b"/" + tail

    if path_flaw(path) is None:
        decoded = unquote_to_bytes(path)
        assert decoded.count(b"/") == path.count(b"/")
        assert not re.search(rb"[\x00-\x1f\x7f\\]", decoded)
        assert {b".", b".."}.isdisjoint(segment.split(b";")[0] for segment in decoded.split(b"/"))
        assert b"//" not in decoded
        decoded.decode()


@given(st.text(alphabet="/.%2eEfF5cC;a", max_size=24))
def test_what_passes_stays_below_where_it_points(tail: str) -> None:
    path = ("/" + tail).encode()

    if path_flaw(path, encoded_slashes=True) is None:
        parts = re.sub(rb";[^/]*", b"", unquote_to_bytes(path)).split(b"/")
        assert b".." not in parts
        assert b"." not in parts
        assert b"" not in parts[1:-1]


@pytest.mark.parametrize("query", ["", "a=b", "a=%00&b=../..//", "a[]=1", '{"a"}', "x?y"])
def test_a_query_may_hold_any_printable_ascii(query: str) -> None:
    assert query_flaw(query.encode()) is None


@pytest.mark.parametrize("query", ["a#b", "a b", "a\tb", "a\nb", "a\x00", "\u00e9", "a\x7f"])
def test_a_query_of_control_or_other_bytes_is_refused(query: str) -> None:
    assert query_flaw(query.encode("latin-1")) is not None


@pytest.mark.parametrize(
    ("path", "understood"),
    [("/a", "/a"), ("/%61%40", "/a@"), ("/a;v=1/b", "/a/b"), ("/a%3Bx/b", "/a;x/b"), ("/a%2Fb", "/a/b")],
)
def test_upstreams_decode_and_drop_parameters(path: str, understood: str) -> None:
    assert as_understood(path.encode()) == understood.encode()


@given(st.text(max_size=20))
def test_writing_a_path_twice_changes_nothing_more(text: str) -> None:
    once = as_written("/" + text.encode("utf-8", "ignore").decode())

    assert as_written(once) == once


def naive_find(exact: Sequence[str], prefixes: Sequence[str], path: str) -> str | None:
    """The rule as it is written for operators, row by row."""
    if path in exact:
        return f"exact {path}"
    fitting = [prefix for prefix in prefixes if prefix in {"/", path} or path.startswith(f"{prefix}/")]
    return f"prefix {max(fitting, key=len)}" if fitting else None


def an_index(exact: Sequence[str], prefixes: Sequence[str]) -> RowIndex[str]:
    return RowIndex.build(
        {path.encode(): f"exact {path}" for path in exact},
        {path.encode(): f"prefix {path}" for path in prefixes},
    )


@given(
    st.lists(ROW_PATHS, max_size=6),
    st.lists(ROW_PATHS.filter(lambda path: path == "/" or not path.endswith("/")), max_size=6),
    PATHS.filter(lambda path: path_flaw(path.encode()) is None),
)
def test_the_index_finds_what_reading_every_row_finds(exact: list[str], prefixes: list[str], path: str) -> None:
    index = an_index(exact, prefixes)

    found = index.find(path.encode())

    assert found == naive_find(exact, prefixes, path)


class CountingRows(dict[bytes, str]):
    times = looked_up_bytes = 0

    def get(self, key: bytes, default: Any = None) -> Any:  # Any: one of many overloads
        self.times += 1
        self.looked_up_bytes += len(key)
        return super().get(key, default)


@pytest.mark.parametrize(
    "path", ["/x" * 4000, "/" + "x" * 8000, "/api/v1/7" + "/x" * 3000], ids=["slashes", "one segment", "below a row"]
)
def test_a_path_costs_no_more_than_the_longest_prefix_allows(path: str) -> None:
    prefixes = CountingRows({b"/api/v1/%d" % number: f"row {number}" for number in range(5000)})
    index = RowIndex[str].build({}, prefixes)

    index.find(path.encode())

    assert prefixes.looked_up_bytes < 100


@pytest.mark.parametrize("path", ["/api/v1/0003/calendars/7", "/api/v1/0003", "/api/v1/none/of/them", "/elsewhere"])
def test_five_thousand_rows_are_searched_with_as_many_look_ups_as_five(path: str) -> None:
    looks = []
    for count in (5, 5000):
        exact, prefixes = (CountingRows({b"/api/v1/%04d" % n: "row" for n in range(count)}) for _ in range(2))
        RowIndex[str].build(exact, prefixes).find(path.encode())
        looks.append((exact.times, prefixes.times))

    assert looks[0] == looks[1]
    assert sum(looks[1]) <= 6


@given(st.text(alphabet="abc \u00e9@%", min_size=1, max_size=6))
def test_every_spelling_of_a_segment_is_understood_alike(segment: str) -> None:
    needful = quote(segment, safe="@")
    needless = "".join(f"%{byte:02x}" for byte in segment.encode())

    assert as_understood(f"/{needful}".encode()) == as_understood(f"/{needless}".encode())
