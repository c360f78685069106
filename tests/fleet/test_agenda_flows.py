import hashlib
import socket
from pathlib import Path

import httpx
import pytest

from tests.fleet.programs import Program, as_user, is_problem, running

ADMIN = as_user("1", "admin")


@pytest.mark.parametrize("query", ["count=0", "count=1001", "interval_ms=-1", "interval_ms=10001", "count=many"])
def test_ticks_are_bounded(agenda: httpx.Client, query: str) -> None:
    answer = agenda.get(f"/api/v1/stream/ticks?{query}")

    assert is_problem(answer, 400, "validation-failed")


def test_ticks_arrive_one_by_one(agenda: httpx.Client) -> None:
    with agenda.stream("GET", "/api/v1/stream/ticks?count=3&interval_ms=100") as answer:
        chunks = [chunk.decode() for chunk in answer.iter_raw()]

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert [chunk.split("\n")[:2] for chunk in chunks] == [[f"id: {number}", "event: tick"] for number in (1, 2, 3)]
    assert all(chunk.endswith("\n\n") for chunk in chunks)


@pytest.mark.parametrize("name", [".hidden", "a%2Fb", "a" * 101, "%20", "%00"])
def test_a_file_has_a_plain_name(agenda: httpx.Client, name: str) -> None:
    answer = agenda.put(f"/api/v1/files/{name}", content=b"x")

    assert answer.status_code in {400, 404}
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_file_is_ones_own(agenda: httpx.Client) -> None:
    agenda.put("/api/v1/files/a.txt", content=b"x")

    answer = agenda.get("/api/v1/files/a.txt", headers=ADMIN)

    assert is_problem(answer, 404, "not-found")


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunks"])
def test_a_file_comes_back_as_it_went(agenda: httpx.Client, is_chunked: bool) -> None:  # noqa: FBT001 -- a case
    body = bytes(range(256)) * 16_384

    stored = agenda.put(
        "/api/v1/files/big.bin", content=iter([body[:1_000_000], body[1_000_000:]]) if is_chunked else body
    )
    fetched = agenda.get("/api/v1/files/big.bin")

    expected = {"name": "big.bin", "sizeBytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    assert stored.json() == expected
    assert fetched.content == body
    assert fetched.headers["content-length"] == str(len(body))
    assert agenda.delete("/api/v1/files/big.bin").status_code == 204
    assert agenda.get("/api/v1/files/big.bin").status_code == 404


def test_an_upload_that_breaks_off_leaves_the_old_file(agenda_program: Program, agenda: httpx.Client) -> None:
    agenda.put("/api/v1/files/a.txt", content=b"old")
    head = f"PUT /api/v1/files/a.txt HTTP/1.1\r\nHost: a\r\nX-User-Id: {agenda.headers['X-User-Id']}\r\n"

    with socket.create_connection(("127.0.0.1", agenda_program.port)) as client:
        client.sendall(f"{head}Content-Length: 100\r\n\r\nnew".encode())

    assert agenda.get("/api/v1/files/a.txt").content == b"old"


def test_a_file_above_the_limit_is_refused_before_it_is_sent(agenda_program: Program) -> None:
    head = f"PUT /api/v1/files/a HTTP/1.1\r\nHost: a\r\nX-User-Id: 7\r\nContent-Length: {1024**3 + 1}\r\n\r\n"

    with socket.create_connection(("127.0.0.1", agenda_program.port), timeout=10) as client:
        client.sendall(head.encode())
        status = client.recv(4096)[:12]

    assert status == b"HTTP/1.1 413"


def test_a_stop_does_not_wait_for_a_stream_to_end(tmp_path: Path) -> None:
    with (
        running("agenda", tmp_path, headers=as_user("7")) as program,
        program.client.stream("GET", "/api/v1/stream/ticks?count=1000&interval_ms=10000") as answer,
    ):
        next(answer.iter_raw())

        code = program.stop()

    assert code == 0
