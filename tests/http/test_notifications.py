"""Notifications over HTTP: listed, read, sent again, and a test that arrives at a real receiver, signed."""

import time
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest

from tests.builders import some_settings
from tests.e2e.program import becomes_true
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, fields_of, make_task, somebody
from tests.http.moody import Moody
from tests.http.running import a_notification
from tests.receivers import Receiver, Reply, verified

NOTIFICATIONS = "/api/v1/notifications/"
PATIENCE_S = 20


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    settings = some_settings(
        tmp_path_factory.mktemp("gateway"),
        dsn=migrated_dsn,
        notification_secret="a secret of the operator's".replace(" ", "-") * 2,
        notification_networks="127.0.0.0/8",
    )
    with running_gateway(settings, Moody().provider()) as url:
        yield url


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver().listening() as receiver:
        yield receiver


def listed(client: httpx.Client, sub: str, query: str = "", role: str = "user") -> list[Json]:
    answer = client.get(f"{NOTIFICATIONS}?{query}", headers=as_(sub, role))
    assert answer.status_code == 200, answer.text
    found: list[Json] = answer.json()["items"]
    return found


def send_test(client: httpx.Client, sub: str, config: object, **headers: str) -> httpx.Response:
    return client.post(f"{NOTIFICATIONS}test", json={"notification_config": config}, headers={**as_(sub), **headers})


def test_ones_own_are_listed_the_newest_first(client: httpx.Client, migrated_dsn: str) -> None:
    owner = somebody()
    first, second = (a_notification(migrated_dsn, owner, title=title) for title in ("One", "Two"))

    newest, oldest = listed(client, owner)

    assert [newest["id"], oldest["id"]] == [str(second), str(first)]
    assert {key: newest[key] for key in ("user_id", "kind", "title", "text", "agent", "run_id", "read_at")} == {
        "user_id": owner,
        "kind": "error",
        "title": "Two",
        "text": "It failed.",
        "agent": "helper",
        "run_id": None,
        "read_at": None,
    }
    assert newest["deliveries"] == [
        {
            "channel": "webhook",
            "address": "127.0.0.1",
            "status": "dead",
            "attempts": 0,
            "next_attempt_at": None,
            "ended_at": newest["deliveries"][0]["ended_at"],
            "error": "gone",
        }
    ]


def test_another_persons_are_for_staff_and_to_change_for_admins(client: httpx.Client, migrated_dsn: str) -> None:
    owner, other = somebody(), somebody()
    noted = a_notification(migrated_dsn, owner)

    refused = client.get(f"{NOTIFICATIONS}?user_id={owner}", headers=as_(other))
    acts = [
        client.post(f"{NOTIFICATIONS}{noted}/{act}", headers=as_(other, role))
        for act in ("read", "resend")
        for role in ("user", "manager")
    ]
    by_admin = client.post(f"{NOTIFICATIONS}{noted}/resend", headers=as_(other, "admin"))

    assert (refused.status_code, refused.json()["type"]) == (403, "forbidden")
    assert listed(client, other) == []
    assert [one["id"] for one in listed(client, other, f"user_id={owner}", "manager")] == [str(noted)]
    assert {(one.status_code, one.json()["type"]) for one in acts} == {(404, "notification-not-found")}
    assert by_admin.status_code == 202
    audit = client.get(f"/api/v1/audit?object_id={noted}", headers=as_(other, "admin")).json()["items"]
    assert [(one["action"], one["who"], one["owner"]) for one in audit] == [("notification.resent", other, owner)]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("unread=true", 1),
        ("unread=false", 1),
        ("dead=true", 1),
        ("dead=false", 1),
        ("kind=error", 2),
        ("kind=success", 0),
        ("searchField=title&searchString=tw", 1),
        ("createdBefore=2001-01-01", 0),
        (f"run_id={uuid4()}", 0),
        (f"task_id={uuid4()}", 0),
        ("ids=FIRST", 1),
        ("pageSize=1&currentPage=2", 1),
    ],
)
def test_they_are_filtered_as_asked(client: httpx.Client, migrated_dsn: str, query: str, count: int) -> None:
    owner = somebody()
    first = a_notification(migrated_dsn, owner, title="One", is_dead=False)
    a_notification(migrated_dsn, owner, title="Two")
    client.post(f"{NOTIFICATIONS}{first}/read", headers=as_(owner))

    assert len(listed(client, owner, query.replace("FIRST", str(first)))) == count


@pytest.mark.parametrize(
    ("query", "field"),
    [("unread=perhaps", "unread"), ("ids=7", "ids"), ("task_id=7", "task_id"), ("orderBy=text", "orderBy")],
)
def test_what_cannot_be_asked_is_refused_by_its_name(client: httpx.Client, query: str, field: str) -> None:
    answer = client.get(f"{NOTIFICATIONS}?{query}", headers=as_(somebody()))

    assert (answer.status_code, fields_of(answer)) == (400, [field])


def test_one_is_read_once_and_all_at_once(client: httpx.Client, migrated_dsn: str) -> None:
    owner, other = somebody(), somebody()
    noted = [a_notification(migrated_dsn, owner, is_dead=False) for _ in range(3)]
    a_notification(migrated_dsn, other, is_dead=False)

    first, again = (client.post(f"{NOTIFICATIONS}{noted[0]}/read", headers=as_(owner)) for _ in range(2))
    rest = client.post(f"{NOTIFICATIONS}read", headers=as_(owner))

    assert first.json()["read_at"] is not None
    assert again.json() == first.json()
    assert rest.json() == {"read": 2}
    assert listed(client, owner, "unread=true") == []
    assert len(listed(client, other, "unread=true")) == 1


def test_a_test_arrives_signed_with_the_secret_that_the_answer_tells(client: httpx.Client, receiver: Receiver) -> None:
    owner, url = somebody(), f"{receiver.url}/{uuid4()}"

    answer = send_test(client, owner, {"webhook_url": url})

    assert answer.status_code == 202, answer.text
    assert becomes_true(lambda: any(got.path in url for got in receiver.accepted), within_s=PATIENCE_S)
    (got,) = [one for one in receiver.accepted if one.path in url]
    assert verified(got, answer.json()["webhook_secret"], now_s=time.time())
    assert got.json["type"] == "notification.test"
    assert got.json["data"]["id"] == answer.json()["notification"]["id"]
    assert becomes_true(
        lambda: [one["status"] for one in listed(client, owner)[0]["deliveries"]] == ["delivered"],
        within_s=PATIENCE_S,
    )


def test_a_test_that_is_sent_again_under_its_key_is_sent_once(client: httpx.Client) -> None:
    owner = somebody()

    first, again = (send_test(client, owner, {}, **{"idempotency-key": "k"}) for _ in range(2))

    assert first.json() == again.json()
    assert len(listed(client, owner)) == 1


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ({"channels": ["email"], "dedupe_s": "x"}, ["dedupe_s", "email_address", "channels"]),
        ({"slack_webhook_url": "https://hooks.slack.com/x", "colour": 1}, ["colour"]),
        ({"telegram_chat_id": 7}, ["channels"]),
    ],
)
def test_a_configuration_that_cannot_work_is_refused_with_all_that_is_wrong(
    client: httpx.Client, config: object, fields: list[str]
) -> None:
    owner = somebody()

    answer = send_test(client, owner, config)

    assert answer.status_code == 400
    assert fields_of(answer) == [f"notification_config.{field}" for field in fields]
    assert listed(client, owner) == []


def test_what_was_given_up_is_sent_again_and_only_that(client: httpx.Client, receiver: Receiver) -> None:
    owner, url = somebody(), f"{receiver.url}/{uuid4()}"
    receiver.answer = lambda got: Reply(410) if got.path in url else Reply()
    noted = send_test(client, owner, {"webhook_url": url}).json()["notification"]["id"]
    assert becomes_true(lambda: len(listed(client, owner, "dead=true")) == 1, within_s=PATIENCE_S)
    receiver.answer = lambda _: Reply()

    answer = client.post(f"{NOTIFICATIONS}{noted}/resend", headers=as_(owner))
    assert becomes_true(lambda: listed(client, owner, "dead=true") == [], within_s=PATIENCE_S)
    assert becomes_true(lambda: any(got.path in url for got in receiver.accepted), within_s=PATIENCE_S)
    assert becomes_true(lambda: listed(client, owner)[0]["deliveries"][0]["status"] == "delivered", within_s=PATIENCE_S)
    again = client.post(f"{NOTIFICATIONS}{noted}/resend", headers=as_(owner))

    assert answer.status_code == 202
    assert answer.json()["deliveries"][0]["status"] == "pending"
    assert (again.status_code, again.json()["type"]) == (409, "nothing-to-resend")


def test_health_and_metrics_tell_how_it_goes(client: httpx.Client) -> None:
    def note() -> str:
        deps = client.get("/api/health/service_health", headers=as_("root", "admin")).json()["deps"]
        return next((str(one["details"]) for one in deps if one["name"] == "notifications"), "")

    assert becomes_true(lambda: "to be sent" in note(), within_s=PATIENCE_S)
    metrics = client.get("/metrics", headers=as_("root", "admin")).text
    assert "portico_notifications_pending" in metrics
    assert "portico_notifications_dead" in metrics


@pytest.mark.parametrize(
    ("prompt", "kind", "status"), [("hello", "success", "completed"), ("refuse", "error", "failed")]
)
def test_a_run_of_a_task_ends_in_one_notification_that_arrives_by_the_tasks_rules(
    client: httpx.Client, receiver: Receiver, prompt: str, kind: str, status: str
) -> None:
    owner, url = somebody(), f"{receiver.url}/{uuid4()}"
    config = {"webhook_url": url, "on": ["success", "error"]}

    task = make_task(client, owner, task_type="delegation", prompt=prompt, notification_config=config)

    assert becomes_true(lambda: any(got.path in url for got in receiver.accepted), within_s=PATIENCE_S)
    (got,) = [one for one in receiver.accepted if one.path in url]
    (kept,) = listed(client, owner)
    told = got.json["data"]
    assert (told["kind"], told["task_id"], told["run_id"]) == (kind, task["id"], task["run_id"])
    assert told["details"]["status"] == status
    assert told["title"] == prompt
    assert (kept["kind"], kept["text"], kept["id"]) == (kind, told["text"], told["id"])
    assert ("hello, after: nothing" if kind == "success" else "The agent refused.") in kept["text"]


def test_what_waits_for_a_task_that_failed_is_told_as_waiting(client: httpx.Client) -> None:
    owner = somebody()
    first = make_task(client, owner, task_type="triggered", prompt="refuse")
    second = make_task(client, owner, task_type="delegation", prompt="go on", depends_on=[first["id"]])

    client.post(f"/api/v1/tasks/{first['id']}/execute", headers=as_(owner))

    assert becomes_true(lambda: len(listed(client, owner)) == 2, within_s=PATIENCE_S)
    found = {one["kind"]: one for one in listed(client, owner)}
    assert (found["error"]["task_id"], found["waiting"]["task_id"]) == (first["id"], second["id"])
    assert found["waiting"]["details"] == {"blocked_by": first["id"]}


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"channels": ["pigeon"]}, "channels"),
        ({"webhook_url": "example"}, "webhook_url"),
        ({"colour": 1}, "colour"),
        ({"email_address": "ann@example.org"}, "channels"),
    ],
    ids=["no channel", "no URL", "unknown", "not set up"],
)
def test_a_task_takes_no_configuration_that_is_wrong(client: httpx.Client, config: object, field: str) -> None:
    owner = somebody()
    body = {"task_type": "triggered", "prompt": "hello", "notification_config": config}
    task = make_task(client, owner, task_type="triggered", prompt="hello")

    answers = [
        client.post("/api/v1/tasks/", json=body, headers=as_(owner)),
        client.patch(f"/api/v1/tasks/{task['id']}", json={"notification_config": config}, headers=as_(owner)),
    ]

    assert {one.status_code for one in answers} == {400}
    assert [fields_of(one) for one in answers] == [[f"notification_config.{field}"]] * 2
