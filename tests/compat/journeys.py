"""What many rows of the ledger do on their way to what they are about."""

import uuid
from typing import Any

import httpx

SESSIONS = "/api/v1/auth/sessions"
CALENDARS = "/api/v1/agenda/calendars/"
CHATS = "/api/v1/chats/"
MESSAGES = "/api/v1/messages/"

# Any below: JSON, whose fields the tests look at


def register(client: httpx.Client) -> dict[str, str]:
    """Make an account of a new name; give what logs in."""
    account = {"email": f"{uuid.uuid4().hex}@example.com", "password": "a long password"}
    answer = client.post("/api/v1/auth/users/register", json=account)
    assert answer.status_code == 201, answer.text
    return account


def log_in(client: httpx.Client, account: dict[str, str]) -> dict[str, Any]:
    answer = client.post(SESSIONS, json=account)
    assert answer.status_code == 200, answer.text
    session: dict[str, Any] = answer.json()
    client.cookies.clear()
    return session


def bearing(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def make(client: httpx.Client, path: str, **fields: object) -> dict[str, Any]:
    answer = client.post(path, json=fields)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def exchange(client: httpx.Client, chat_id: int, content: str) -> list[dict[str, Any]]:
    answer = client.post(f"{MESSAGES}{chat_id}/exchange", json={"content": content})
    assert answer.status_code == 201, answer.text
    messages: list[dict[str, Any]] = answer.json()
    return messages


def seen(answer: httpx.Response) -> tuple[int, str]:
    """The status of a refusal, and its type."""
    return answer.status_code, answer.json()["type"]
