"""Tokens that are withdrawn: refused here at once, by another instance on the same database within a second."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from dishka import Provider, Scope
from structlog.testing import capture_logs

from app.edge.withdrawals import WithdrawTokens
from tests.builders import bearer, some_settings
from tests.gateway import running_gateway
from tests.http.cable import Cable
from tests.http.calls import as_, fields_of, somebody, withdraw
from tests.http.events import wait_for

REVOCATIONS = "/api/v1/revocations"
ADMIN = as_("root", "admin")
WITHIN_S = 1.5  # a second is promised; the rest is for a busy machine
PATIENCE_S = 15


@pytest.fixture(scope="module")
def other(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A second instance on the same database."""
    folder: Path = tmp_path_factory.mktemp("other")
    with (
        running_gateway(some_settings(folder, dsn=migrated_dsn)) as url,
        httpx.Client(base_url=url, timeout=30) as other,
    ):
        yield other


def issued(sub: str, ago_s: float = 5, **claims: object) -> dict[str, str]:
    return bearer(sub=sub, iat=time.time() - ago_s, **claims)


def is_let_in(client: httpx.Client, headers: dict[str, str]) -> bool:
    return client.get("/api/v1/agents/", headers=headers).status_code == 200


def seconds_until_refused(client: httpx.Client, headers: dict[str, str]) -> float:
    begin = time.monotonic()
    while is_let_in(client, headers):
        assert time.monotonic() < begin + PATIENCE_S, "it is let in for ever"
        time.sleep(0.01)
    return time.monotonic() - begin


def test_a_withdrawn_token_is_refused_at_once_and_says_so(client: httpx.Client) -> None:
    user = somebody()
    token = issued(user)
    was_let_in = is_let_in(client, token)

    withdraw(client, sub=user)

    answer = client.get("/api/v1/agents/", headers=token)
    assert was_let_in
    assert (answer.status_code, answer.json()["type"]) == (401, "token-invalid")
    assert "withdrawn" in answer.json()["detail"]
    assert answer.headers["www-authenticate"] == "Bearer"


def test_another_instance_refuses_it_within_a_second_though_it_remembers_it(
    client: httpx.Client, other: httpx.Client
) -> None:
    user, bystander = somebody(), somebody()
    tokens = issued(user), issued(bystander)
    were_let_in = [is_let_in(other, token) for token in tokens]

    withdraw(client, sub=user)
    seconds = seconds_until_refused(other, tokens[0])

    assert were_let_in == [True, True]
    assert seconds < WITHIN_S
    assert is_let_in(other, tokens[1])


def test_a_token_issued_afterwards_is_good(client: httpx.Client) -> None:
    user = somebody()
    withdraw(client, sub=user)

    assert is_let_in(client, issued(user, ago_s=-0.5))
    assert not is_let_in(client, issued(user, ago_s=1))
    assert not is_let_in(client, bearer(sub=user, iat=None))


def test_a_single_token_is_withdrawn_by_its_jti(client: httpx.Client, other: httpx.Client) -> None:
    user = somebody()
    stolen, own = issued(user, jti=f"{user}-stolen"), issued(user, jti=f"{user}-own")
    is_let_in(other, stolen)

    withdraw(client, jti=f"{user}-stolen")

    assert seconds_until_refused(other, stolen) < WITHIN_S
    assert is_let_in(client, own)
    assert not is_let_in(client, stolen)


@pytest.mark.parametrize("form", ["epoch", "iso"])
def test_before_may_be_seconds_or_a_date(client: httpx.Client, form: str) -> None:
    user = somebody()
    moment = datetime.now(UTC) - timedelta(seconds=60)

    made = withdraw(client, sub=user, before=moment.timestamp() if form == "epoch" else moment.isoformat())

    assert abs(datetime.fromisoformat(made["before"]) - moment) < timedelta(milliseconds=1)
    assert not is_let_in(client, issued(user, ago_s=61))
    assert is_let_in(client, issued(user, ago_s=59))


def test_a_number_names_a_user_as_its_digits(client: httpx.Client) -> None:
    made = withdraw(client, sub=987654321)

    assert made["sub"] == "987654321"
    assert not is_let_in(client, issued("987654321"))


@pytest.mark.parametrize(
    ("body", "field"),
    [
        pytest.param({}, "sub", id="nobody"),
        pytest.param({"sub": "a", "jti": "b"}, "sub", id="both"),
        pytest.param({"sub": ""}, "sub", id="an empty name"),
        pytest.param({"sub": "a", "before": time.time() * 1000}, "before", id="milliseconds"),
        pytest.param({"sub": "a", "before": "2026-11-21T05:00:00"}, "before", id="no offset"),
        pytest.param({"sub": "a", "before": -1}, "before", id="before 1970"),
        pytest.param({"sub": "a", "before": 10**400}, "before", id="a number of 400 digits"),
        pytest.param({"sub": "a", "before": "9999-12-31T23:59:59-12:00"}, "before", id="past the calendar"),
        pytest.param({"sub": "a", "exp": 2_000_000_000}, "exp", id="exp of many tokens"),
        pytest.param({"jti": "a\nb"}, "jti", id="a line break"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_field(
    client: httpx.Client, body: dict[str, object], field: str
) -> None:
    answer = client.post(REVOCATIONS, json=body, headers=ADMIN)

    assert (answer.status_code, fields_of(answer)) == (400, [field])


@pytest.mark.parametrize(("query", "field"), [("jti=a%00b", "jti"), (f"sub={'x' * 256}", "sub")])
def test_a_name_that_cannot_be_kept_is_refused_by_its_field(client: httpx.Client, query: str, field: str) -> None:
    answer = client.get(f"/api/v1/revocations?{query}", headers=as_("root", "admin"))

    assert (answer.status_code, fields_of(answer)) == (400, [field])


def test_a_revocation_is_listed_and_can_be_lifted(client: httpx.Client, other: httpx.Client) -> None:
    user = somebody()
    token = issued(user)
    made = withdraw(client, sub=user)
    seconds_until_refused(other, token)

    listed = client.get(REVOCATIONS, params={"sub": user}, headers=ADMIN).json()
    lifted = client.delete(f"{REVOCATIONS}/{made['id']}", headers=ADMIN)
    twice = client.delete(f"{REVOCATIONS}/{made['id']}", headers=ADMIN)

    end = time.monotonic() + PATIENCE_S
    while not is_let_in(other, token) and time.monotonic() < end:
        time.sleep(0.01)
    assert listed == {"items": [made], "total": 1, "limit": 20, "offset": 0}
    assert made.keys() >= {"id", "sub", "jti", "before", "created_by", "created_at", "expires_at"}
    assert (lifted.status_code, is_let_in(client, token), is_let_in(other, token)) == (204, True, True)
    assert (twice.status_code, twice.json()["type"]) == (404, "revocation-not-found")


def test_to_withdraw_again_moves_the_moment_and_makes_no_second_one(client: httpx.Client) -> None:
    user = somebody()
    first = withdraw(client, sub=user, before=time.time() - 60)

    again = withdraw(client, sub=user)

    assert again["id"] == first["id"]
    assert again["before"] > first["before"]
    assert not is_let_in(client, issued(user, ago_s=30))


def test_who_withdrew_what_is_in_the_log(client: httpx.Client) -> None:
    user = somebody()
    with capture_logs() as events:
        withdraw(client, sub=user)

        line = wait_for(events, "revocation.made", sub=user)

    assert (line["by"], len(line["request_id"])) == ("root", 32)


def test_a_restart_forgets_nothing(client: httpx.Client, migrated_dsn: str, tmp_path: Path) -> None:
    user = somebody()
    withdraw(client, sub=user)

    with running_gateway(some_settings(tmp_path, dsn=migrated_dsn)) as url, httpx.Client(base_url=url) as started:
        first = started.get("/api/v1/agents/", headers=issued(user))

    assert (first.status_code, first.json()["type"]) == (401, "token-invalid")


def test_at_the_bound_a_revocation_is_refused_rather_than_another_forgotten(migrated_dsn: str, tmp_path: Path) -> None:
    def full(use_case: WithdrawTokens) -> WithdrawTokens:
        return replace(use_case, limit=0)

    provider = Provider(scope=Scope.APP)
    provider.decorate(full)
    with (
        running_gateway(some_settings(tmp_path, dsn=migrated_dsn), provider) as url,
        httpx.Client(base_url=url, timeout=30) as client,
    ):
        answer = client.post(REVOCATIONS, json={"sub": somebody()}, headers=ADMIN)

    assert (answer.status_code, answer.json()["type"]) == (503, "revocations-full")


@pytest.fixture
def cable(migrated_dsn: str) -> Iterator[Cable]:
    folder = Path(tempfile.mkdtemp(prefix="cable-"))  # pytest's own folders are too long for a socket's name
    cable = Cable(migrated_dsn, folder)
    cable.mend()
    yield cable
    cable.cut()
    shutil.rmtree(folder)


def test_while_the_database_is_away_what_is_known_stays_and_afterwards_what_was_missed_is_heard(
    client: httpx.Client, cable: Cable, tmp_path: Path
) -> None:
    users = [somebody(), somebody(), somebody()]
    known, missed, later = (issued(user) for user in users)
    withdraw(client, sub=users[0])
    with (
        running_gateway(some_settings(tmp_path, dsn=cable.dsn)) as url,
        httpx.Client(base_url=url, timeout=30) as cut_off,
    ):
        cable.cut()
        withdraw(client, sub=users[1])

        while_away = [is_let_in(cut_off, token) for token in (known, missed, later)]
        refused = cut_off.post(REVOCATIONS, json={"sub": users[2]}, headers=ADMIN)
        cable.mend()
        seconds_until_refused(cut_off, missed)
        withdraw(client, sub=users[2])
        seconds = seconds_until_refused(cut_off, later)

    assert while_away == [False, True, True]
    assert (refused.status_code, refused.json()["type"]) == (503, "storage-unavailable")
    assert seconds < WITHIN_S


def test_service_health_tells_how_old_the_knowledge_is(client: httpx.Client) -> None:
    health = client.get("/api/health/service_health", headers=ADMIN).json()

    (found,) = [one for one in health["deps"] if one["name"] == "revocations"]
    assert (found["type"], found["status"]) == ("edge", "ok")
    assert "heard" in found["details"]
