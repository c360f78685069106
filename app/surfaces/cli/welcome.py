"""What the demo says when it is up: who may log in, and three calls to paste, each on a line of its own."""

import http.client
import json
import shlex
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.agents.llm.models import LOCAL
from app.surfaces.cli.fleet import ADMIN_EMAIL, ADMIN_PASSWORD

EMAIL = "demo@example.com"
PASSWORD = "demo-password"  # noqa: S105 - printed below; the demo listens on loopback only
READY_TIMEOUT_S = 60
AGENT_TIMEOUT_S = 30


@dataclass(frozen=True, slots=True)
class Welcome:
    """Everything here goes through the front door, as a newcomer's calls will; `model` is None where there is none."""

    url: str
    folder: Path
    model: str | None

    def say(self) -> None:
        """Wait until the gateway is ready, make the demo's user and chat, and print."""
        if not self._wait_for_ready():
            return
        try:
            token = self._log_in()
            chat_id = self._chat(token)
            print(self._text(chat_id, self._agent_health(token)), flush=True)
        except (OSError, KeyError, ValueError) as error:
            print(f"the demo runs at {self.url}, but its user could not be made: {error}", flush=True)

    def _wait_for_ready(self) -> bool:
        end = time.monotonic() + READY_TIMEOUT_S
        while time.monotonic() < end:
            try:
                self._call("GET", "/api/health/ready")
            except (OSError, http.client.HTTPException):
                time.sleep(0.2)
            else:
                return True
        return False

    def _log_in(self) -> str:
        account = {"email": EMAIL, "password": PASSWORD}
        try:
            self._call("POST", "/api/v1/auth/users/register", body=account)
        except urllib.error.HTTPError as error:
            if error.code != 409:
                raise
        return str(self._call("POST", "/api/v1/auth/sessions", body=account)["access_token"])

    def _chat(self, token: str) -> int:
        chats: Any = self._call("GET", "/api/v1/chats/?pageSize=1", token=token)["items"]
        if not chats:
            return int(self._call("POST", "/api/v1/chats/", token=token, body={"title": "Demo"})["id"])
        return int(chats[0]["id"])

    def _agent_health(self, token: str) -> str:
        """Give a model the seconds it takes to load, so that what is printed is true."""
        end = time.monotonic() + AGENT_TIMEOUT_S
        while True:
            health = str(self._call("GET", "/api/v1/agents/assistant", token=token)["health"])
            if health == "ok" or self.model is None or time.monotonic() > end:
                return health
            time.sleep(0.25)

    def _call(self, method: str, path: str, *, token: str = "", body: object = None) -> dict[str, Any]:
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        sent = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, method=method, data=sent, headers=headers)  # noqa: S310 - ours
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - see above
            found = json.load(answer)
        return found if isinstance(found, dict) else {}

    def _text(self, chat_id: int, agent_health: str) -> str:
        jar = shlex.quote(str(self.folder / "cookies.txt"))
        account = json.dumps({"email": EMAIL, "password": PASSWORD})
        as_json = "-H 'content-type: application/json'"
        say = json.dumps({"content": "Say hello in one sentence."})
        exchange = f"{self.url}/api/v1/messages/{chat_id}/exchange"
        return f"""
Portico is at {self.url}  (API: {self.url}/docs)
users: {EMAIL} / {PASSWORD}, and the admin {ADMIN_EMAIL} / {ADMIN_PASSWORD}

Log in, call a service through the front door, talk to an agent:

curl -s -c {jar} {as_json} -d '{account}' {self.url}/api/v1/auth/sessions
curl -s -b {jar} {self.url}/api/v1/agenda/calendars/
curl -s -b {jar} -H 'origin: {self.url}' {as_json} -d '{say}' {exchange}

{_about_model(self.model, agent_health)}
LOG_LEVEL=20 shows every request. Ctrl-C stops everything.
"""


def _about_model(model: str | None, agent_health: str) -> str:
    name_one = "Name a real one with DEFAULT_MODEL (e.g. anthropic:MODEL) and its key, in the environment or .env."
    if model is None:
        return f"There is no language model, so the assistant cannot answer.\n{name_one}"
    if agent_health != "ok":
        return f"The assistant cannot answer: {agent_health}.\n{name_one}"
    if model == LOCAL:
        return f"A small local model (135M parameters) shows that the path works, not intelligence.\n{name_one}"
    return f"The assistant answers by the model {model}."
