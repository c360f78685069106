"""Events as clients read them: off a stream, off a list, off a WebSocket."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
from websockets.sync.client import ClientConnection, connect

from app.agents.turns import Fold
from tests.builders import a_token
from tests.http.calls import Json, as_

LAST = {"run_completed", "run_failed", "run_interrupted"}
PATIENCE_S = 30


def events_in(answer: httpx.Response) -> Iterator[Json]:
    """Read server-sent events as they come; each must name its number and type as its data does."""
    fields: dict[str, str] = {}
    for line in answer.iter_lines():
        name, _, value = line.partition(":")
        if line:
            fields |= {name: value.removeprefix(" ")} if name else {}
        elif "data" in fields:
            event: Json = json.loads(fields["data"])
            assert (fields["id"], fields["event"]) == (str(event["seq"]), event["type"])
            yield event
            fields = {}
        else:
            fields = {}


def followed(client: httpx.Client, sub: str, run_id: str, *, after: int = 0, role: str = "user") -> list[Json]:
    """Follow a run to its end."""
    headers = {**as_(sub, role), "accept": "text/event-stream"}
    with client.stream("GET", f"/api/v1/runs/{run_id}/events?after={after}", headers=headers) as answer:
        assert answer.status_code == 200, answer.read()
        return list(events_in(answer))


def listed(client: httpx.Client, sub: str, run_id: str, **query: int) -> Json:
    headers = {**as_(sub), "accept": "application/json"}
    answer = client.get(f"/api/v1/runs/{run_id}/events", params=query, headers=headers)
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def text_of(events: Sequence[Json]) -> str:
    fold = Fold()
    for event in events:
        fold.add(event["type"], event["data"])
    return fold.text


def begin(client: httpx.Client, sub: str, chat_id: int, content: str, **fields: object) -> Json:
    """Begin a turn in the background; give its run."""
    body = {"content": content, "run_mode": "background", **fields}
    answer = client.post(f"/api/v1/messages/{chat_id}/exchange", json=body, headers=as_(sub))
    assert answer.status_code == 202, answer.text
    run: Json = answer.json()["run"]
    assert answer.headers["location"] == f"/api/v1/runs/{run['id']}"
    return run


def read_run(client: httpx.Client, sub: str, run_id: str) -> Json:
    answer = client.get(f"/api/v1/runs/{run_id}", headers=as_(sub))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


class Socket:
    """A chat's WebSocket; what is not asked for at the moment is kept."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.kept: list[Json] = []

    def send(self, **frame: object) -> None:
        self.connection.send(json.dumps(frame))

    def receive(self) -> Json:
        found: Json = json.loads(self.connection.recv(timeout=PATIENCE_S))
        return found

    def until(self, *types: str) -> Json:
        """Read until a frame of one of these types comes."""
        while (frame := self.receive())["type"] not in types:
            self.kept.append(frame)
        return frame


@contextmanager
def a_socket(url: str, sub: str, chat_id: int, *, after: str = "", role: str = "user") -> Iterator[Socket]:
    query = f"?after={after}" if after else ""
    address = f"{url.replace('http', 'ws')}/api/v1/chats/{chat_id}/events{query}"
    headers = {"authorization": f"Bearer {a_token(sub=sub, role=role)}"}
    with connect(address, additional_headers=headers, proxy=None, open_timeout=PATIENCE_S) as connection:
        yield Socket(connection)
