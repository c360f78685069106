"""Deliveries to the webhooks of tasks, done by the real worker in the gateway's own process."""

import asyncio
import hmac
import itertools
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlencode
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from app.features.tasks.domain.payload import NOTE
from app.features.tasks.domain.signatures import key_of
from app.infra.db.engine import Database, DatabaseOptions, session_of
from app.infra.wire.standard_webhooks import signature_of
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.calls import Json, as_, fields_of, make_task, somebody
from tests.http.moody import Moody
from tests.http.streams import followed, read_run

JSON = "application/json"
_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def gateway_url(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its agent says again what it was asked, so that what reached it can be read."""
    settings = some_settings(tmp_path_factory.mktemp("gateway"), dsn=migrated_dsn)
    with running_gateway(settings, Moody().provider()) as url:
        yield url


def a_webhook(client: httpx.Client, owner: str, prompt: str = "Look: {{ payload }}", **config: object) -> Json:
    return make_task(client, owner, task_type="triggered", prompt=prompt, trigger_config=config or None)


def path_of(task: Json) -> str:
    return f"/api/v1/tasks/webhooks/{task['id']}"


def signed(secret: str, body: bytes, *, id_: str = "", at: float | None = None) -> dict[str, str]:
    """The headers of Standard Webhooks."""
    id_, timestamp_s = id_ or f"msg_{next(_numbers)}", int(time.time() if at is None else at)
    return {
        "content-type": JSON,
        "webhook-id": id_,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature_of(key_of(secret), id_, timestamp_s, body),
    }


def deliver(client: httpx.Client, task: Json, body: bytes, **how: object) -> httpx.Response:
    return client.post(path_of(task), content=body, headers=signed(task["webhook_secret"], body, **how))  # type: ignore[arg-type]


def refused_as(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json"
    return answer.status_code, answer.json()["type"]


def runs_of(client: httpx.Client, owner: str, task: Json) -> list[Json]:
    found: list[Json] = client.get(f"/api/v1/tasks/{task['id']}/runs", headers=as_(owner)).json()["items"]
    return found


# --- what is refused


def test_a_bad_signature_is_refused_and_nothing_begins(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)
    headers = signed(task["webhook_secret"], b"{}")

    answer = client.post(path_of(task), content=b'{"changed": 1}', headers=headers)

    assert refused_as(answer) == (401, "webhook-signature-invalid")
    assert runs_of(client, owner, task) == []


def test_an_unsigned_delivery_is_refused_whoever_brings_it(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)

    for headers in ({}, as_(owner), as_("root", "admin")):
        assert refused_as(client.post(path_of(task), json={}, headers=headers)) == (401, "webhook-signature-invalid")


def test_an_unknown_id_is_answered_as_a_bad_signature_is(client: httpx.Client) -> None:
    task = a_webhook(client, somebody())
    bad = client.post(path_of(task), content=b"{}", headers={"content-type": JSON})

    unknown = client.post(f"/api/v1/tasks/webhooks/{uuid4()}", content=b"{}", headers={"content-type": JSON})

    told = {"type", "title", "status", "detail"}
    assert {name: unknown.json()[name] for name in told} == {name: bad.json()[name] for name in told}


def test_what_is_no_id_is_malformed(client: httpx.Client) -> None:
    assert refused_as(client.post("/api/v1/tasks/webhooks/abc", content=b"{}")) == (400, "validation-failed")


@pytest.mark.parametrize("off_by_s", [-310, 310])
def test_a_stale_timestamp_is_refused(client: httpx.Client, off_by_s: int) -> None:
    task = a_webhook(client, somebody())

    answer = deliver(client, task, b"{}", at=time.time() + off_by_s)

    assert refused_as(answer) == (401, "webhook-stale")


def test_a_task_of_another_type_is_no_webhook(client: httpx.Client) -> None:
    owner = somebody()
    task = make_task(client, owner, task_type="delegation", prompt="hello")

    answer = client.post(path_of(task), content=b"{}", headers=signed("whsec_" + "A" * 32, b"{}"))

    assert refused_as(answer) == (409, "task-not-triggered")
    assert "webhook_secret" not in task or task["webhook_secret"] is None


def test_a_disabled_task_is_told_to_who_knows_the_secret_and_nobody_else(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)
    client.post(f"/api/v1/tasks/{task['id']}/disable", headers=as_(owner))

    assert refused_as(client.post(path_of(task), content=b"{}")) == (401, "webhook-signature-invalid")
    assert refused_as(deliver(client, task, b"{}")) == (409, "webhook-disabled")
    client.post(f"/api/v1/tasks/{task['id']}/enable", headers=as_(owner))
    assert deliver(client, task, b"{}").status_code == 202


def test_a_deleted_task_has_no_webhook(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)
    client.delete(f"/api/v1/tasks/{task['id']}", headers=as_(owner))

    assert refused_as(deliver(client, task, b"{}")) == (401, "webhook-signature-invalid")


@pytest.mark.parametrize("is_chunked", [False, True])
def test_an_oversize_body_is_refused(client: httpx.Client, is_chunked: bool) -> None:  # noqa: FBT001
    task = a_webhook(client, somebody())
    body = b'"' + b"x" * 256 * 1024 + b'"'
    headers = signed(task["webhook_secret"], body)

    answer = client.post(path_of(task), content=iter([body]) if is_chunked else body, headers=headers)

    assert refused_as(answer) == (413, "body-too-large")


@pytest.mark.parametrize("body", [b"{", b'"\xff"', b"[" * 5000, b"1e999"])
def test_a_body_that_is_not_what_it_says_is_refused(client: httpx.Client, body: bytes) -> None:
    assert refused_as(deliver(client, a_webhook(client, somebody()), body)) == (400, "webhook-payload-unreadable")


def test_a_task_takes_so_many_in_a_minute(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner, rate_per_minute=2)
    for _ in range(2):
        assert deliver(client, task, b"{}").status_code == 202

    answer = deliver(client, task, b"{}", id_="late")

    assert refused_as(answer) == (429, "webhook-rate-limited")
    assert answer.headers["retry-after"] == "60"
    assert len(runs_of(client, owner, task)) == 2


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"verify": "md5"}, "trigger_config.verify"),
        ({"filter": [{"path": "a"}]}, "trigger_config.filter.0"),
        ({"secret": "x"}, "trigger_config.secret"),
    ],
)
def test_a_configuration_that_means_nothing_is_refused(client: httpx.Client, config: Json, field: str) -> None:
    owner = somebody()
    body = {"task_type": "triggered", "prompt": "x", "trigger_config": config}
    task = a_webhook(client, owner)

    made = client.post("/api/v1/tasks/", json=body, headers=as_(owner))
    changed = client.patch(f"/api/v1/tasks/{task['id']}", json={"trigger_config": config}, headers=as_(owner))

    for answer in (made, changed):
        assert refused_as(answer) == (400, "validation-failed")
        assert fields_of(answer) == [field]


# --- what is taken


def test_a_delivery_begins_a_run_that_is_told_what_was_delivered(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner, "Answer {{ payload.issue.title }} in {{ payload.issue.language }}.")

    answer = deliver(client, task, json.dumps({"issue": {"title": 'It "burns"\n{{ payload.x }}'}}).encode())

    assert answer.status_code == 202
    taken = answer.json()
    assert taken["unknown_paths"] == ["payload.issue.language"]
    assert answer.headers["location"] == f"/api/v1/runs/{taken['run_id']}"
    assert followed(client, owner, taken["run_id"])[-1]["type"] == "run_completed"
    run = read_run(client, owner, taken["run_id"])
    assert (run["trigger"], run["task_id"]) == ("webhook", task["id"])
    assert f'Answer "It \\"burns\\"\\n{{{{ payload.x }}}}" in .\n\n{NOTE}' in run["result"]["text"]


def test_a_prompt_without_a_place_gets_the_payload_at_its_end(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner, "Process what comes in.")

    run_id = deliver(client, task, b'{"event": "data_received"}').json()["run_id"]

    followed(client, owner, run_id)
    text = read_run(client, owner, run_id)["result"]["text"]
    assert text.startswith('Process what comes in.\n\nThe webhook\'s payload: {"event": "data_received"}')


def test_a_try_that_is_sent_again_is_answered_with_the_same_run(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)

    first = deliver(client, task, b'{"a": 1}', id_="msg_again")
    same = deliver(client, task, b'{"a": 1}', id_="msg_again")
    signed_anew = deliver(client, task, b'{"a": 1}', id_="msg_again", at=time.time() - 60)

    assert {answer.status_code for answer in (first, same, signed_anew)} == {202}
    assert {answer.json()["run_id"] for answer in (first, same, signed_anew)} == {first.json()["run_id"]}
    assert len(runs_of(client, owner, task)) == 1


def test_the_same_id_with_another_body_is_a_replay(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)
    deliver(client, task, b'{"a": 1}', id_="msg_once")

    answer = deliver(client, task, b'{"a": 2}', id_="msg_once")

    assert refused_as(answer) == (409, "webhook-replayed")
    assert len(runs_of(client, owner, task)) == 1


def test_what_was_signed_is_not_taken_under_another_id(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner, verify="hmac-sha256", id_header="X-GitHub-Delivery")
    signature = hmac.digest(task["webhook_secret"].encode(), b"{}", "sha256").hex()
    headers = {"content-type": JSON, "x-hub-signature-256": f"sha256={signature}"}

    first, other = (
        client.post(path_of(task), content=b"{}", headers={**headers, "x-github-delivery": id_}) for id_ in ("1", "2")
    )

    assert first.status_code == 202
    assert refused_as(other) == (409, "webhook-replayed")


def test_of_many_at_once_one_begins_a_run_and_all_are_told_of_it(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: deliver(client, task, b"{}", id_="msg_crowd"), range(16)))

    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.json()["run_id"] for answer in answers}) == 1
    assert len(runs_of(client, owner, task)) == 1


def test_a_delivery_that_is_filtered_out_begins_nothing(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner, filter=[{"path": "action", "equals": "opened"}])

    closed = deliver(client, task, b'{"action": "closed"}', id_="msg_closed")
    again = deliver(client, task, b'{"action": "closed"}', id_="msg_closed")
    opened = deliver(client, task, b'{"action": "opened"}')

    assert closed.status_code == again.status_code == opened.status_code == 202
    assert closed.json() == again.json() == {"skipped": "the filter asks that action is what was asked for"}
    assert [run["id"] for run in runs_of(client, owner, task)] == [opened.json()["run_id"]]


def test_slack_signs_with_a_secret_of_its_own_and_sends_forms(client: httpx.Client) -> None:
    owner, secret = somebody(), "8f742231b10e8888abcd99yyyzzz85a5"
    task = a_webhook(
        client,
        owner,
        verify="hmac-sha256",
        header="X-Slack-Signature",
        prefix="v0=",
        timestamp_header="X-Slack-Request-Timestamp",
        base="v0:{timestamp}:{body}",
    )
    rotate(client, owner, task, secret=secret, overlap_s=0)
    body, at = urlencode({"command": "/ask", "text": "what is new?"}).encode(), str(int(time.time()))
    signature = hmac.digest(secret.encode(), b"v0:" + at.encode() + b":" + body, "sha256").hex()
    headers = {
        "content-type": "application/x-www-form-urlencoded",
        "x-slack-signature": f"v0={signature}",
        "x-slack-request-timestamp": at,
    }

    answer = client.post(path_of(task), content=body, headers=headers)

    assert answer.status_code == 202
    followed(client, owner, answer.json()["run_id"])
    text = read_run(client, owner, answer.json()["run_id"])["result"]["text"]
    assert '{"command": "/ask", "text": "what is new?"}' in text


def test_a_bearer_delivers_text_as_often_as_it_likes(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner, verify="bearer")
    headers = {"authorization": f"Bearer {task['webhook_secret']}", "content-type": "text/plain"}

    answers = [client.post(path_of(task), content=b"the door is open", headers=headers) for _ in range(2)]
    named = [
        client.post(path_of(task), content=b"again", headers={**headers, "webhook-id": "door-7"}) for _ in range(2)
    ]

    assert {answer.status_code for answer in answers + named} == {202}
    assert len({answer.json()["run_id"] for answer in answers}) == 2
    assert len({answer.json()["run_id"] for answer in named}) == 1


@pytest.mark.parametrize("verify", ["standard", "hmac-sha256", "bearer"])
def test_the_curl_line_works_as_pasted(client: httpx.Client, verify: str) -> None:
    owner = somebody()
    task = a_webhook(client, owner, verify=verify)

    done = subprocess.run(["bash", "-c", task["curl"]], capture_output=True, check=True, timeout=30, text=True)

    run_id = json.loads(done.stdout)["run_id"]
    assert followed(client, owner, run_id)[-1]["type"] == "run_completed"
    assert '{"hello": "world"}' in read_run(client, owner, run_id)["result"]["text"]


# --- secrets


def rotate(client: httpx.Client, owner: str, task: Json, **wish: object) -> Json:
    answer = client.post(f"/api/v1/tasks/{task['id']}/rotate-secret", json=wish, headers=as_(owner))
    assert answer.status_code == 200, answer.text
    found: Json = answer.json()
    return found


def with_secret(task: Json, secret: str) -> Json:
    return {**task, "webhook_secret": secret}


def test_a_secret_is_shown_once(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)

    later = client.get(f"/api/v1/tasks/{task['id']}", headers=as_(owner))
    listed = client.get("/api/v1/tasks/", headers=as_(owner))

    assert task["webhook_secret"].startswith("whsec_")
    assert task["webhook_secret"] not in later.text + listed.text
    assert "whsec_" not in later.text + listed.text


def test_the_former_secret_holds_for_the_overlap(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)

    rotated = rotate(client, owner, task)

    assert rotated["webhook_secret"] != task["webhook_secret"]
    assert deliver(client, task, b"1").status_code == 202
    assert deliver(client, with_secret(task, rotated["webhook_secret"]), b"2").status_code == 202


def test_without_an_overlap_the_former_secret_holds_no_more(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)

    rotated = rotate(client, owner, task, overlap_s=0)

    assert refused_as(deliver(client, task, b"1")) == (401, "webhook-signature-invalid")
    assert deliver(client, with_secret(task, rotated["webhook_secret"]), b"2").status_code == 202


def test_no_more_than_three_secrets_hold_at_once(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)
    secrets = [task["webhook_secret"], *(rotate(client, owner, task)["webhook_secret"] for _ in range(3))]

    answers = [deliver(client, with_secret(task, secret), b"1").status_code for secret in secrets]

    assert answers == [401, 202, 202, 202]


def test_a_later_rotation_does_not_let_a_former_secret_live_longer(client: httpx.Client) -> None:
    owner = somebody()
    task = a_webhook(client, owner)
    rotate(client, owner, task, overlap_s=0)

    rotate(client, owner, task, overlap_s=3600)

    assert deliver(client, task, b"1").status_code == 401


@pytest.mark.parametrize("secret", ["short", "whsec_QUJD", "with a space in the middle of it", "\u00fc" * 20])
def test_a_secret_that_could_be_guessed_or_sent_by_nobody_is_refused(client: httpx.Client, secret: str) -> None:
    owner = somebody()
    task = a_webhook(client, owner)

    answer = client.post(f"/api/v1/tasks/{task['id']}/rotate-secret", json={"secret": secret}, headers=as_(owner))

    assert refused_as(answer) == (400, "validation-failed")
    assert fields_of(answer) == ["secret"]


def test_a_task_without_a_webhook_has_no_secret_to_rotate(client: httpx.Client) -> None:
    owner = somebody()
    task = make_task(client, owner, task_type="delegation", prompt="hello")

    answer = client.post(f"/api/v1/tasks/{task['id']}/rotate-secret", json={}, headers=as_(owner))

    assert refused_as(answer) == (409, "task-not-triggered")


def test_a_key_shows_the_same_secret_again_and_keeps_it_sealed(client: httpx.Client, migrated_dsn: str) -> None:
    owner = somebody()
    headers = {**as_(owner), "idempotency-key": "a-new-webhook"}
    body = {"task_type": "triggered", "prompt": "x"}

    first, again = (client.post("/api/v1/tasks/", json=body, headers=headers) for _ in range(2))

    secret = first.json()["webhook_secret"]
    assert secret.startswith("whsec_")
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    kept = asyncio.run(everything_kept(migrated_dsn))
    assert owner.encode() in kept
    assert secret.removeprefix("whsec_").encode() not in kept


async def everything_kept(dsn: str) -> bytes:
    """Every row of the two tables that know of the secret, as PostgreSQL writes them out."""
    database = Database(DatabaseOptions(dsn=dsn, schema="portico"))
    try:
        async with database.begin() as tx:
            session = session_of(tx)
            answers = await session.execute(text("SELECT owner, body FROM keyed_requests"))
            secrets = await session.execute(text("SELECT sealed FROM webhook_secrets"))
            rows = [*answers, *secrets]
    finally:
        await database.aclose()
    return b"\n".join(part if isinstance(part, bytes) else str(part).encode() for row in rows for part in row)
