from collections.abc import Callable
from dataclasses import dataclass, field, replace
from uuid import UUID

import pytest

from app.edge.keys import KeySet, read_pem
from app.edge.plans import MAX_HEAD_BYTES, MAX_PLANS, Plan, Plans
from app.edge.proxy import BodyFraming
from app.edge.table import Table
from app.kernel.identity import Acting, Principal
from app.kernel.ids import RunId
from tests.builders import a_principal, public_pem
from tests.unit.edge.parts import NOW_S, Checked, a_live_table, a_record
from tests.unit.edge.test_revocations import a_revocation

BLOCK = b"GET /x HTTP/1.1\r\nHost: gate.test\r\n\r\n"
WHO = a_principal(user_id="ann", expires_at=NOW_S + 60)


@dataclass(slots=True)
class Remembered:
    """Plans, and everything that a plan hangs on."""

    checked: Checked = field(default_factory=Checked)
    table: Table = field(default_factory=lambda: a_live_table({"prefix": "/"}))
    plans: Plans = field(init=False)

    def __post_init__(self) -> None:
        self.plans = Plans(self.checked.verifier)

    def plan(self, *fields: tuple[str, str], who: Principal | None = WHO, is_upgrade: bool = False) -> Plan:
        record = a_record("GET", "/x", *fields, is_upgrade=is_upgrade)
        record.route, record.principal = self.table.registry.routes[0], who
        record.upstream = self.table.upstreams["there"]
        ends_at_s = self.checked.verifier.ends_at_s(who)
        return Plan(
            record, record.route, BodyFraming.NONE, False, True, b"\r\n", self.table, self.checked.keys, ends_at_s
        )

    def keep(self, block: bytes = BLOCK, **plan: object) -> Plan:
        made = self.plan(**plan)  # type: ignore[arg-type]
        self.plans.keep(block, made)
        return made

    def find(self, block: bytes = BLOCK, *, peer: str = "203.0.113.7", scheme: str = "http") -> Plan | None:
        return self.plans.find(block, peer, scheme, self.table)


def test_the_same_head_of_the_same_peer_is_known() -> None:
    remembered = Remembered()
    plan = remembered.keep()

    assert remembered.find() is plan
    assert remembered.find() is plan


@pytest.mark.parametrize(
    "asked",
    [{"peer": "203.0.113.8"}, {"scheme": "https"}, {"block": BLOCK.replace(b"x", b"y")}],
    ids=["another peer", "another scheme", "another head"],
)
def test_anything_else_is_not(asked: dict[str, object]) -> None:
    remembered = Remembered()
    remembered.keep()

    assert remembered.find(**asked) is None  # type: ignore[arg-type]


def new_table(remembered: Remembered) -> None:
    remembered.table = replace(remembered.table, generation=2)


def new_keys(remembered: Remembered) -> None:
    remembered.checked.keys = KeySet(any_id=read_pem(public_pem()))


def withdrawal(remembered: Remembered) -> None:
    remembered.checked.verifier.revocations.apply([a_revocation("ann")])


def expiry(remembered: Remembered) -> None:
    remembered.checked.clock.now_s += 60 + remembered.checked.rules.leeway_s


@pytest.mark.parametrize("change", [new_table, new_keys, withdrawal, expiry])
def test_a_plan_falls_with_what_decided(change: Callable[[Remembered], None]) -> None:
    remembered = Remembered()
    remembered.keep()

    change(remembered)

    assert remembered.find() is None


def test_a_plan_without_a_token_does_not_expire() -> None:
    remembered = Remembered()
    plan = remembered.keep(who=None)

    remembered.checked.clock.now_s += 10**9

    assert remembered.find() is plan


def test_a_bad_token_on_a_public_row_is_looked_at_each_time() -> None:
    remembered = Remembered()
    for name in ("Authorization", "Cookie"):
        remembered.plans.keep(BLOCK, remembered.plan((name, "Bearer may-be-good-soon"), who=None))

        assert remembered.find() is None


def test_a_runs_token_is_looked_at_each_time() -> None:
    remembered = Remembered()

    remembered.keep(who=replace(WHO, acting=Acting(RunId(UUID(int=1)), 1, ("assistant",))))

    assert remembered.find() is None


def test_a_local_row_is_kept_as_well() -> None:
    remembered = Remembered()
    local = remembered.plan()
    local.record.upstream = None

    remembered.plans.keep(BLOCK, local)

    assert remembered.find() is local


def test_a_handshake_and_a_long_head_are_not_kept() -> None:
    remembered = Remembered()
    long_block = BLOCK + b"x" * MAX_HEAD_BYTES

    remembered.keep(is_upgrade=True)
    remembered.keep(long_block)

    assert remembered.find() is None
    assert remembered.find(long_block) is None


def test_the_oldest_give_way() -> None:
    remembered = Remembered()
    for number in range(MAX_PLANS + 1):
        remembered.keep(b"%d" % number)

    assert remembered.find(b"0") is None
    assert remembered.find(b"1") is not None
    assert remembered.find(b"%d" % MAX_PLANS) is not None


def test_the_next_record_is_new_but_for_what_the_head_decides() -> None:
    remembered = Remembered()
    plan = remembered.plan(("X-A", "1"))
    first = plan.record
    first.id, first.status, first.bytes_out, first.evidence = "first", 200, 9, {"cause": "known"}
    remembered.plans.keep(BLOCK, plan)
    second = plan.record.again(4.0)
    second.id, second.evidence = "second", {"cause": "known as well"}

    again = plan.record.again(5.0)

    assert (again.method, again.path, again.headers) == (b"GET", b"/x", plan.record.headers)
    assert (again.route, again.upstream, again.principal) == (plan.route, plan.record.upstream, WHO)
    assert (again.started_s, again.id, again.status, again.bytes_out, again.evidence) == (5.0, "", 0, 0, {})
