"""Every endpoint of ours and what each takes: the table that refusals, JSON attacks and the description are run on."""

from collections.abc import Mapping
from dataclasses import dataclass

ID = "the id"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`path` holds `{chat_id}`, `{message_id}` and the like where the caller's own belongs, or what belongs to nobody.

    `body` is one that would be taken. `malformed` is a body, a query or `ID` that breaks the one thing `flawed` names;
    None where there is nothing a caller could get wrong. `takes_files` is of one that takes JSON as any other text.
    `body` is one that would be taken, `query` what has to be asked for. `malformed` is a body, a query or `ID` that
    breaks the one thing `flawed` names; None where there is nothing a caller could get wrong.
    """

    method: str
    path: str
    wrong_role: str = "guest"
    body: Mapping[str, object] | None = None
    malformed: str | Mapping[str, object] | None = ID
    flawed: str | None = None
    takes_files: bool = False
    query: str = ""

    def at(self, ids: Mapping[str, object]) -> str:
        """Give the path and query that ask for these."""
        path = self.path.format(name="echo", **ids)
        return f"{path}?{self.query}" if self.query else path

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_about_one(self) -> bool:
        """Whether it is about something of one person."""
        return self.noun is not None

    @property
    def noun(self) -> str | None:
        """What of a person's it is about."""
        nouns = ("chat", "message", "run", "task", "batch", "job", "key", "attachment")
        return next((noun for noun in nouns if f"{{{noun}_id}}" in self.path), None)

    @property
    def right_role(self) -> str:
        """The least role that may enter."""
        return {"user": "manager", "manager": "admin"}.get(self.wrong_role, "user")


ENDPOINTS = (
    Endpoint("GET", "/api/v1/chats/", malformed="pageSize=0", flawed="pageSize"),
    Endpoint("POST", "/api/v1/chats/", body={"title": "Plans"}, malformed={"title": 5}, flawed="title"),
    Endpoint("GET", "/api/v1/chats/search", malformed="q=", flawed="q", query="q=hello"),
    Endpoint("GET", "/api/v1/chats/{chat_id}", flawed="chat_id"),
    Endpoint("PUT", "/api/v1/chats/{chat_id}", body={"title": "New"}, malformed={"colour": "red"}, flawed="colour"),
    Endpoint("DELETE", "/api/v1/chats/{chat_id}", flawed="chat_id"),
    Endpoint("POST", "/api/v1/chats/{chat_id}/restore", flawed="chat_id"),
    Endpoint("GET", "/api/v1/chats/{chat_id}/messages", malformed="limit=101", flawed="limit"),
    Endpoint("GET", "/api/v1/chats/{chat_id}/interactions", malformed="limit=21", flawed="limit"),
    Endpoint("GET", "/api/v1/messages/", wrong_role="user", malformed="sortOrder=up", flawed="sortOrder"),
    Endpoint(
        "POST",
        "/api/v1/messages/chats/{chat_id}/messages",
        body={"role": "user", "content": "hello"},
        malformed={"role": "owner", "content": "hello"},
        flawed="role",
    ),
    Endpoint("GET", "/api/v1/messages/{message_id}", flawed="message_id"),
    Endpoint(
        "PUT",
        "/api/v1/messages/{message_id}",
        body={"content": "other"},
        malformed={"in_prompt": "perhaps"},
        flawed="in_prompt",
    ),
    Endpoint("DELETE", "/api/v1/messages/{message_id}", flawed="message_id"),
    Endpoint(
        "POST",
        "/api/v1/messages/{chat_id}/exchange",
        body={"content": "hello"},
        malformed={"content": ""},
        flawed="content",
    ),
    Endpoint("GET", "/api/v1/attachments/", malformed="pageSize=0", flawed="pageSize"),
    Endpoint(
        "POST",
        "/api/v1/attachments/",
        body={"a": "file"},
        malformed="digest=0",
        flawed="file",
        takes_files=True,
    ),
    Endpoint("GET", "/api/v1/attachments/{attachment_id}", flawed="attachment_id"),
    Endpoint("GET", "/api/v1/attachments/{attachment_id}/content", flawed="attachment_id"),
    Endpoint("DELETE", "/api/v1/attachments/{attachment_id}", flawed="attachment_id"),
    Endpoint(
        "POST",
        "/api/v1/messages/{message_id}/edit",
        body={"content": "other"},
        malformed={"content": ""},
        flawed="content",
    ),
    Endpoint("POST", "/api/v1/messages/{message_id}/regenerate", malformed={"timeout_s": 0}, flawed="timeout_s"),
    Endpoint("POST", "/api/v1/messages/{message_id}/select", flawed="message_id"),
    Endpoint("POST", "/api/v1/messages/{message_id}/fork", malformed={"title": 5}, flawed="title"),
    Endpoint("POST", "/api/v1/chats/{chat_id}/clone", malformed={"title": 5}, flawed="title"),
    Endpoint("GET", "/api/v1/usage/", malformed="by=hour", flawed="by"),
    Endpoint("GET", "/api/v1/memories/", malformed="pageSize=0", flawed="pageSize"),
    Endpoint("DELETE", "/api/v1/memories/", malformed=None),
    Endpoint("DELETE", "/api/v1/memories/{memory_id}", flawed="memory_id"),
    Endpoint("GET", "/api/v1/runs/{run_id}", flawed="run_id"),
    Endpoint("POST", "/api/v1/runs/{run_id}/cancel", flawed="run_id"),
    Endpoint("POST", "/api/v1/runs/{run_id}/rerun", flawed="run_id"),
    Endpoint("GET", "/api/v1/runs/{run_id}/events", malformed="after=-1", flawed="after"),
    Endpoint(
        "POST",
        "/api/v1/runs/{run_id}/tool-results/{tool_call_id}",
        body={"nonce": "n", "result": "seen"},
        malformed={"nonce": 5, "result": "seen"},
        flawed="nonce",
    ),
    Endpoint("GET", "/api/v1/approvals/", malformed="status=lost", flawed="status"),
    Endpoint("GET", "/api/v1/approvals/standing", malformed="pageSize=0", flawed="pageSize"),
    Endpoint("DELETE", "/api/v1/approvals/standing/{approval_id}", flawed="approval_id"),
    Endpoint("GET", "/api/v1/approvals/{approval_id}", flawed="approval_id"),
    Endpoint(
        "POST",
        "/api/v1/approvals/{approval_id}",
        body={"decision": "approve"},
        malformed={"decision": "perhaps"},
        flawed="decision",
    ),
    Endpoint("GET", "/api/v1/tasks/", malformed="task_type=hobby", flawed="task_type"),
    Endpoint(
        "POST",
        "/api/v1/tasks/",
        body={"prompt": "Sum it up.", "task_type": "triggered"},
        malformed={"task_type": "triggered", "prompt": ""},
        flawed="prompt",
    ),
    Endpoint(
        "POST",
        "/api/v1/tasks/batches/",
        body={"tasks": [{"task_type": "triggered", "prompt": "Sum it up."}]},
        malformed={"tasks": []},
        flawed="tasks",
    ),
    Endpoint("GET", "/api/v1/tasks/events", malformed="severity=awful", flawed="severity"),
    Endpoint("GET", "/api/v1/tasks/statistics", malformed="by=hour", flawed="by"),
    Endpoint("GET", "/api/v1/tasks/batches/{batch_id}", flawed="batch_id"),
    Endpoint("POST", "/api/v1/tasks/batches/{batch_id}/retry-failed", flawed="batch_id"),
    Endpoint("GET", "/api/v1/tasks/{task_id}", flawed="task_id"),
    Endpoint(
        "PATCH",
        "/api/v1/tasks/{task_id}",
        body={"prompt": "Sum it up."},
        malformed={"enabled": "perhaps"},
        flawed="enabled",
    ),
    Endpoint("DELETE", "/api/v1/tasks/{task_id}", flawed="task_id"),
    Endpoint("POST", "/api/v1/tasks/{task_id}/restore", flawed="task_id"),
    Endpoint("POST", "/api/v1/tasks/{task_id}/execute", flawed="task_id"),
    Endpoint("POST", "/api/v1/tasks/{task_id}/enable", flawed="task_id"),
    Endpoint("POST", "/api/v1/tasks/{task_id}/disable", flawed="task_id"),
    Endpoint(
        "POST",
        "/api/v1/tasks/{task_id}/rotate-secret",
        body={"overlap_s": 60},
        malformed={"overlap_s": -1},
        flawed="overlap_s",
    ),
    Endpoint("POST", "/api/v1/stream-execute", body={"input": "hello"}, malformed={"input": 7}, flawed="input"),
    Endpoint("GET", "/api/v1/stream/{job_id}", malformed=None),
    Endpoint("POST", "/execute", body={"input": "hello"}, malformed={"timeout": 0}, flawed="timeout"),
    Endpoint("GET", "/api/v1/tasks/{task_id}/report", flawed="task_id"),
    Endpoint("GET", "/api/v1/tasks/{task_id}/runs", malformed="pageSize=0", flawed="pageSize"),
    Endpoint("GET", "/api/v1/notifications/", malformed="kind=rumour", flawed="kind"),
    Endpoint("POST", "/api/v1/notifications/read", malformed=None),
    Endpoint(
        "POST",
        "/api/v1/notifications/test",
        body={"notification_config": {"channels": ["in_app"]}},
        malformed={"notification_config": {"dedupe_s": -1}},
        flawed="notification_config.dedupe_s",
    ),
    Endpoint("POST", "/api/v1/notifications/{notification_id}/read", flawed="notification_id"),
    Endpoint("POST", "/api/v1/notifications/{notification_id}/resend", flawed="notification_id"),
    Endpoint("GET", "/api/v1/tasks/{task_id}/reports", malformed="pageSize=0", flawed="pageSize"),
    Endpoint("GET", "/api/v1/audit/", wrong_role="manager", malformed="pageSize=0", flawed="pageSize"),
    Endpoint("GET", "/api/v1/revocations/", wrong_role="manager", malformed="pageSize=0", flawed="pageSize"),
    Endpoint(
        "POST",
        "/api/v1/revocations/",
        wrong_role="manager",
        body={"sub": "nobody"},
        malformed={"sub": "nobody", "before": "yesterday"},
        flawed="before",
    ),
    Endpoint("DELETE", "/api/v1/revocations/{revocation_id}", wrong_role="manager", flawed="revocation_id"),
    Endpoint("GET", "/api/v1/keys/", malformed="pageSize=0", flawed="pageSize"),
    Endpoint(
        "POST", "/api/v1/keys/", body={"name": "laptop"}, malformed={"name": "laptop", "role": "king"}, flawed="role"
    ),
    Endpoint("DELETE", "/api/v1/keys/{key_id}", flawed="key_id"),
    Endpoint("POST", "/api/v1/sessions/", malformed=None),
    Endpoint("GET", "/api/v1/agents/", malformed=None),
    Endpoint("GET", "/api/v1/operations/", malformed=None),
    Endpoint("GET", "/api/v1/agents/{name}", malformed=None),
    Endpoint("GET", "/metrics", wrong_role="user", malformed=None),
)

# Anybody may ask these, so there is nobody to refuse, and they take nothing that could be malformed.
OPEN_TO_ALL = (
    Endpoint("GET", "/api/health/ping"),
    Endpoint("GET", "/api/health/ready"),
    Endpoint("GET", "/api/health/service_health"),
    Endpoint("GET", "/openapi.json"),
    Endpoint("GET", "/.well-known/jwks.json"),
)

# Described by OpenAI, whose errors these have: `test_openai.py` has who is refused.
OPENAI = (
    Endpoint("GET", "/v1/models"),
    Endpoint("GET", "/v1/models/{name}"),
    Endpoint("POST", "/v1/chat/completions"),
)

# Nobody has a token here, and widgets have to be set up: `test_widgets.py`.
VISITED = (Endpoint("POST", "/api/v1/public/chat/{widget}"),)

# Nobody has a token here: what is delivered is signed, and `test_webhooks.py` has who is refused.
SIGNED = (Endpoint("POST", "/api/v1/tasks/webhooks/{task_id}"),)

WITH_BODY = tuple(endpoint for endpoint in ENDPOINTS if endpoint.body is not None and not endpoint.takes_files)

# of protocols that have no place in the description; `test_mcp_wire.py` holds each to what it refuses
PROTOCOLS = (Endpoint("POST", "/mcp", malformed=None),)
