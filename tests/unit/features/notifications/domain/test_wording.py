"""How a notification is put into words for each channel."""

from datetime import UTC, datetime
from uuid import UUID

from app.features.notifications.domain.news import About, Kind, Notification
from app.features.notifications.domain.wording import (
    body,
    for_slack,
    for_telegram,
    for_webhook,
    headline,
    text_of,
    title_of,
)
from app.kernel.ids import NotificationId, RunId, UserId

RUN, TASK = RunId(UUID(int=7)), UUID(int=8)


def a_notification(title: str = "Report <&>", text: str = "a < b") -> Notification:
    return Notification(
        id=NotificationId(UUID(int=9)),
        owner=UserId("ann"),
        kind=Kind.ERROR,
        title=title,
        text=text,
        about=About(RUN, TASK, None, "helper"),
        details={"severity": "error"},
        created_at=datetime(2026, 11, 28, 12, 0, tzinfo=UTC),
    )


def test_a_title_is_one_bounded_line_that_can_be_stored() -> None:
    assert title_of("a\r\nBcc: b\0\ud800 c") == "a Bcc: b\ufffd\ufffd c"
    assert len(title_of("x" * 500)) == 200
    assert title_of("x" * 500).endswith("…")


def test_a_text_keeps_its_lines_and_has_an_end() -> None:
    assert text_of("a\nb") == "a\nb"
    assert len(text_of("x" * 10_000)) == 3500


def test_it_says_what_happened_and_where_to_look() -> None:
    assert headline(a_notification()) == "[Failed] Report <&>"
    assert body(a_notification()) == f"a < b\n\nagent: helper\ntask: {TASK}\nrun: {RUN}\nat: 2026-11-28 12:00:00Z"
    assert body(a_notification(text="")).startswith("agent: helper")


def test_slack_gets_nothing_that_it_would_read_as_a_mark() -> None:
    text = str(for_slack(a_notification())["text"])

    assert text.startswith("*[Failed] Report &lt;&amp;&gt;*\na &lt; b")


def test_telegram_gets_plain_text_of_less_than_it_takes() -> None:
    said = for_telegram(a_notification("x" * 200, "y" * 3500), "-100")

    assert said["chat_id"] == "-100"
    assert "parse_mode" not in said
    assert len(str(said["text"])) <= 4096


def test_a_webhook_gets_a_type_a_time_and_what_it_is_about() -> None:
    assert for_webhook(a_notification()) == {
        "type": "notification.error",
        "timestamp": "2026-11-28T12:00:00Z",
        "data": {
            "id": str(UUID(int=9)),
            "user_id": "ann",
            "kind": "error",
            "title": "Report <&>",
            "text": "a < b",
            "agent": "helper",
            "task_id": str(TASK),
            "run_id": str(RUN),
            "chat_id": None,
            "details": {"severity": "error"},
        },
    }
