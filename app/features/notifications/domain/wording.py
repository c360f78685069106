"""How a notification is put into words for each channel; bounded, and of one line where a channel has one line."""

from collections.abc import Mapping
from datetime import datetime

from app.features.notifications.domain.news import TEXT_LIMIT_CHARS, TITLE_LIMIT_CHARS, Kind, Notification
from app.kernel.storable import storable_text
from app.kernel.values import Json

_MARKS: Mapping[Kind, str] = {
    Kind.SUCCESS: "Done",
    Kind.WARNING: "Warning",
    Kind.ERROR: "Failed",
    Kind.WAITING: "Waiting",
    Kind.APPROVAL: "Approval wanted",
    Kind.TEST: "Test",
}


def title_of(text: str) -> str:
    """Make one storable line of bounded length."""
    return _cut(" ".join(storable_text(text).split()), TITLE_LIMIT_CHARS)


def text_of(text: str) -> str:
    return _cut(storable_text(text), TEXT_LIMIT_CHARS)


def headline(one: Notification) -> str:
    return f"[{_MARKS[one.kind]}] {one.title}"


def body(one: Notification) -> str:
    """Say it in plain text, without the title: what happened, and how to find it."""
    about = {
        "agent": one.about.agent,
        "task": one.about.task_id,
        "run": one.about.run_id,
        "at": f"{one.created_at:%Y-%m-%d %H:%M:%SZ}",
    }
    facts = "\n".join(f"{name}: {value}" for name, value in about.items() if value)
    return f"{one.text}\n\n{facts}" if one.text else facts


def for_slack(one: Notification) -> Mapping[str, Json]:
    """Escape what Slack reads as its own marks (https://docs.slack.dev/messaging/formatting-message-text)."""
    text = f"*{headline(one)}*\n{body(one)}"
    for mark, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, escaped)
    return {"text": text}


def for_telegram(one: Notification, chat_id: str) -> Mapping[str, Json]:
    """Say it without a `parse_mode`: nothing in it is read as a mark (Bot API, sendMessage)."""
    text = f"{headline(one)}\n{body(one)}"
    return {"chat_id": chat_id, "text": text, "link_preview_options": {"is_disabled": True}}


def for_webhook(one: Notification) -> Mapping[str, Json]:
    """Say it as Standard Webhooks do: a type, a time, and what it is about."""
    about = one.about
    return {
        "type": f"notification.{one.kind}",
        "timestamp": _moment(one.created_at),
        "data": {
            "id": str(one.id),
            "user_id": one.owner,
            "kind": one.kind.value,
            "title": one.title,
            "text": one.text,
            "agent": about.agent or None,
            "task_id": None if about.task_id is None else str(about.task_id),
            "run_id": None if about.run_id is None else str(about.run_id),
            "chat_id": about.chat_id,
            "details": dict(one.details),
        },
    }


def _moment(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
