"""What tests of the endpoints say over and over: a person nobody else is, a chat of theirs, a message in it."""

import itertools
from collections.abc import Mapping
from typing import Any

import httpx

from tests.builders import bearer

# Any: an endpoint's JSON, whose shape is what the tests are about
type Json = dict[str, Any]

_numbers = itertools.count(1)


def somebody() -> str:
    """A user id that no other test has, so that lists hold only what this test made."""
    return f"person-{next(_numbers)}"


def as_(sub: str, role: str = "user") -> dict[str, str]:
    return bearer(sub=sub, role=role)


def open_chat(client: httpx.Client, sub: str, **fields: object) -> Json:
    answer = client.post("/api/v1/chats/", json=fields, headers=as_(sub))
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def write(client: httpx.Client, sub: str, chat_id: int, content: str, *, role: str = "user") -> Json:
    path = f"/api/v1/messages/chats/{chat_id}/messages"
    answer = client.post(path, json={"role": role, "content": content}, headers=as_(sub))
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def make_task(client: httpx.Client, sub: str, **fields: object) -> Json:
    answer = client.post("/api/v1/tasks/", json=fields, headers=as_(sub))
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def make_batch(client: httpx.Client, sub: str, *tasks: Mapping[str, object]) -> Json:
    answer = client.post("/api/v1/tasks/batches/", json={"tasks": tasks}, headers=as_(sub))
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def make_key(client: httpx.Client, sub: str, role: str = "user", **fields: object) -> Json:
    answer = client.post("/api/v1/keys", json={"name": "laptop", **fields}, headers=as_(sub, role))
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def attach(client: httpx.Client, sub: str, content: bytes, name: str) -> Json:
    """Keep a file, of the kind that its content is."""
    file = (name, content, "application/octet-stream")
    answer = client.post("/api/v1/attachments/", files={"file": file}, headers=as_(sub))
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def withdraw(client: httpx.Client, **fields: object) -> Json:
    answer = client.post("/api/v1/revocations", json=fields, headers=as_("root", "admin"))
    assert answer.status_code == 201, answer.text
    found: Json = answer.json()
    return found


def say(client: httpx.Client, sub: str, chat_id: int, content: str) -> httpx.Response:
    return client.post(f"/api/v1/messages/{chat_id}/exchange", json={"content": content}, headers=as_(sub))


def history(client: httpx.Client, sub: str, chat_id: int) -> list[Json]:
    answer = client.get(f"/api/v1/chats/{chat_id}/messages", headers=as_(sub))
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["items"]
    return found


def fields_of(answer: httpx.Response) -> list[str]:
    """The fields a refusal names."""
    return [error["field"] for error in answer.json().get("errors", ())]
