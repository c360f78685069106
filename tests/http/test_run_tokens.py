"""Runs that call the front door, and the keys their tokens are checked with: two instances on one database."""

import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import httpx
import jwt
import pytest

from app.kernel.authority import Authority
from app.kernel.ids import RunId, UserId
from tests.builders import some_settings
from tests.gateway import running_gateway
from tests.http.cable import Cable
from tests.http.calls import as_, open_chat, somebody, withdraw
from tests.http.running import Workplace

JWKS = "/.well-known/jwks.json"
AGENTS = "/api/v1/agents/"
PATIENCE_S = 15
WITHIN_S = 3  # a second is promised; the rest is for a busy machine


@pytest.fixture(scope="module")
def other(migrated_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """A second instance on the same database."""
    folder: Path = tmp_path_factory.mktemp("other")
    with (
        running_gateway(some_settings(folder, dsn=migrated_dsn)) as url,
        httpx.Client(base_url=url, timeout=30) as other,
    ):
        yield other


@pytest.fixture(scope="module")
def workplace(migrated_dsn: str) -> Workplace:
    return Workplace(migrated_dsn)


def an_asker(role: str = "user", *, ago_s: float = 5, token_id: str | None = None) -> Authority:
    return Authority(UserId(somebody()), (role,), issued_at=time.time() - ago_s, token_id=token_id)


def carrying(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def is_let_in(client: httpx.Client, headers: dict[str, str]) -> bool:
    return client.get(AGENTS, headers=headers).status_code == 200


def seconds_until(is_so: Callable[[], bool]) -> float:
    begin = time.monotonic()
    while not is_so():
        assert time.monotonic() < begin + PATIENCE_S, "it never comes"
        time.sleep(0.01)
    return time.monotonic() - begin


def kids(client: httpx.Client) -> set[str]:
    return {key["kid"] for key in client.get(JWKS).json()["keys"]}


# ---- the keys


def test_the_keys_are_open_to_all_and_may_be_kept_for_a_minute(client: httpx.Client, workplace: Workplace) -> None:
    asker = an_asker()
    token = workplace.token(workplace.run_for(asker), asker)
    seconds_until(lambda: jwt.get_unverified_header(token)["kid"] in kids(client))

    answers = [client.get(JWKS), client.get(JWKS, headers=carrying("nonsense"))]

    for answer in answers:
        assert (answer.status_code, answer.headers["cache-control"]) == (200, "public, max-age=60")
        assert answer.headers["content-type"] == "application/json"
        for key in answer.json()["keys"]:
            assert key.keys() == {"kid", "n", "e", "kty", "use", "alg", "key_ops"}
            assert (key["kty"], key["use"], key["alg"], key["key_ops"]) == ("RSA", "sig", "RS256", ["verify"])


def test_they_are_read_and_not_written(client: httpx.Client) -> None:
    answer = client.post(JWKS)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def test_every_instance_publishes_a_new_key_within_a_second(
    client: httpx.Client, other: httpx.Client, migrated_dsn: str
) -> None:
    kids(other)  # what it knows now is not read again for a while
    asker, new_worker = an_asker(), Workplace(migrated_dsn)

    kid = jwt.get_unverified_header(new_worker.token(new_worker.run_for(asker), asker))["kid"]
    seconds = [seconds_until(lambda door=door: kid in kids(door)) for door in (client, other)]  # type: ignore[misc]

    assert max(seconds) < WITHIN_S


def test_a_token_holds_before_the_published_keys_and_says_who_by_whose_hand(
    client: httpx.Client, workplace: Workplace
) -> None:
    """As an upstream checks it that knows nothing but the address of the keys."""
    asker = an_asker("manager", token_id="asked-with")
    run_id = workplace.run_for(asker)
    token = workplace.token(run_id, asker, agent="agenda")
    kid = jwt.get_unverified_header(token)["kid"]
    seconds_until(lambda: kid in kids(client))

    (key,) = [one for one in client.get(JWKS).json()["keys"] if one["kid"] == kid]
    claims = jwt.decode(token, jwt.PyJWK(key).key, algorithms=["RS256"], audience="portico", issuer="portico")

    assert (claims["sub"], claims["role"], claims["act"], claims["run"]) == (
        asker.user_id,
        "manager",
        {"sub": "agenda"},
        str(run_id),
    )
    assert claims["exp"] - claims["iat"] == 300


# ---- the runs


def test_a_run_may_what_its_asker_may_and_no_more(client: httpx.Client, workplace: Workplace) -> None:
    user, admin = an_asker("user"), an_asker("admin")
    tokens = [carrying(workplace.token(workplace.run_for(asker), asker)) for asker in (user, admin)]
    chat = open_chat(client, user.user_id)

    mine = [client.get(f"/api/v1/chats/{chat['id']}", headers=token).status_code for token in tokens]
    lists = [client.get("/api/v1/messages/", headers=token).status_code for token in tokens]
    strangers = client.get(f"/api/v1/chats/{open_chat(client, somebody())['id']}", headers=tokens[0])

    assert (mine, lists, strangers.status_code) == ([200, 200], [403, 200], 404)


@pytest.mark.parametrize(
    "change",
    [
        "state = 'completed'",
        "state = 'failed'",
        "cancel_requested_at = now()",
        "epoch = epoch + 1",
        "lease_until = now()",
    ],
)
def test_a_run_that_ends_is_refused_by_every_instance_within_a_second(
    client: httpx.Client, other: httpx.Client, workplace: Workplace, change: str
) -> None:
    asker = an_asker()
    run_id = workplace.run_for(asker)
    token = carrying(workplace.token(run_id, asker))
    were_let_in = [is_let_in(door, token) for door in (client, other)]

    workplace.set(run_id, change)
    seconds = [seconds_until(lambda door=door: not is_let_in(door, token)) for door in (client, other)]  # type: ignore[misc]

    refused = client.get(AGENTS, headers=token)
    assert were_let_in == [True, True]
    assert max(seconds) < WITHIN_S
    assert (refused.status_code, refused.json()["type"]) == (401, "token-invalid")


def test_a_run_that_is_taken_up_again_calls_with_tokens_of_its_new_epoch(
    client: httpx.Client, workplace: Workplace
) -> None:
    asker = an_asker()
    run_id = workplace.run_for(asker)
    is_let_in(client, carrying(workplace.token(run_id, asker)))

    workplace.set(run_id, "epoch = 2")

    assert is_let_in(client, carrying(workplace.token(run_id, asker, epoch=2)))


# ---- what is withdrawn


def is_stopped(workplace: Workplace, run_id: RunId) -> bool:
    row = workplace.row(run_id)
    return row["cancel_requested_at"] is not None or row["state"] == "interrupted"


@pytest.mark.parametrize("by", ["sub", "jti"])
def test_to_withdraw_the_asker_refuses_the_run_and_stops_it(
    client: httpx.Client, other: httpx.Client, workplace: Workplace, by: str
) -> None:
    asker = an_asker(token_id=somebody())
    running, waiting = workplace.run_for(asker), workplace.run_for(asker, state="waiting")
    bystanders = an_asker(token_id=somebody())
    spared = workplace.run_for(bystanders)
    token = carrying(workplace.token(running, asker))
    were_let_in = [is_let_in(door, token) for door in (client, other)]

    withdraw(client, **{by: asker.user_id if by == "sub" else asker.token_id})
    seconds = [
        seconds_until(lambda: not is_let_in(other, token)),
        seconds_until(lambda: is_stopped(workplace, running)),
        seconds_until(lambda: is_stopped(workplace, waiting)),
    ]

    assert were_let_in == [True, True]
    assert max(seconds) < WITHIN_S
    assert not is_stopped(workplace, spared)
    assert is_let_in(client, carrying(workplace.token(spared, bystanders)))
    assert workplace.row(running)["cancel_reason"] == "token-withdrawn"


def test_a_token_that_is_signed_after_the_withdrawal_is_refused_as_well(
    client: httpx.Client, workplace: Workplace
) -> None:
    """The worker may not have heard that its run is stopped, and goes on signing."""
    asker = an_asker()
    run_id = workplace.run_for(asker)
    withdraw(client, sub=asker.user_id)

    assert not is_let_in(client, carrying(workplace.token(run_id, asker)))


def test_what_is_asked_for_with_a_new_login_goes_on(client: httpx.Client, workplace: Workplace) -> None:
    user = somebody()
    withdraw(client, sub=user)
    asker = Authority(UserId(user), ("user",), issued_at=time.time() + 1)
    run_id = workplace.run_for(asker)

    assert is_let_in(client, carrying(workplace.token(run_id, asker)))
    time.sleep(2.5)  # the second look at what was withdrawn is over by then
    assert not is_stopped(workplace, run_id)


# ---- what is begun again


def test_who_begins_a_run_again_does_it_with_the_rights_he_has_now(client: httpx.Client, workplace: Workplace) -> None:
    """Once an admin, and no more: a run of that time is no way back."""
    was_admin = an_asker("admin", ago_s=1000)
    over = workplace.run_for(was_admin, state="completed")

    by_himself = client.post(f"/api/v1/runs/{over}/rerun", headers=as_(was_admin.user_id, "user")).json()["run"]
    by_an_admin = client.post(f"/api/v1/runs/{over}/rerun", headers=as_("root", "admin")).json()["run"]

    now, then = (workplace.authority(RunId(UUID(run["id"]))) for run in (by_himself, by_an_admin))
    assert (now.user_id, now.roles) == (was_admin.user_id, ("user",))
    assert now.issued_at > was_admin.issued_at
    assert then == was_admin


# ---- while the database is away


@pytest.fixture
def cable(migrated_dsn: str) -> Iterator[Cable]:
    folder = Path(tempfile.mkdtemp(prefix="cable-"))  # pytest's own folders are too long for a socket's name
    cable = Cable(migrated_dsn, folder)
    cable.mend()
    yield cable
    cable.cut()
    shutil.rmtree(folder)


def test_while_the_database_is_away_no_run_is_let_in_and_afterwards_those_that_live(
    workplace: Workplace, cable: Cable, tmp_path: Path
) -> None:
    asker = an_asker()
    token = carrying(workplace.token(workplace.run_for(asker), asker))
    with (
        running_gateway(some_settings(tmp_path, dsn=cable.dsn)) as url,
        httpx.Client(base_url=url, timeout=30) as cut_off,
    ):
        before, known = is_let_in(cut_off, token), kids(cut_off)
        cable.cut()
        seconds_until(lambda: not is_let_in(cut_off, token))
        refused = cut_off.get(AGENTS, headers=token)
        person = is_let_in(cut_off, as_(somebody()))
        still_known = kids(cut_off)
        cable.mend()
        seconds_until(lambda: is_let_in(cut_off, token))

    assert (before, person) == (True, True)
    assert (refused.status_code, refused.json()["type"]) == (503, "keys-unavailable")
    assert refused.headers["retry-after"] == "1"
    assert still_known == known


def test_service_health_tells_of_runs(client: httpx.Client) -> None:
    health = client.get("/api/health/service_health", headers=as_("root", "admin")).json()

    (found,) = [one for one in health["deps"] if (one["type"], one["name"]) == ("edge", "runs")]
    assert found["status"] == "ok"
    assert "when last asked for" in found["details"]
