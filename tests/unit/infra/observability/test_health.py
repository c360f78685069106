import asyncio

import pytest
import structlog
from structlog.testing import capture_logs

from app.infra.observability import health as health_module
from app.infra.observability.health import HealthRegistry, NotWell, Wellness
from app.kernel.draining import Draining
from app.kernel.errors import Unavailable


@pytest.fixture(autouse=True)
def _every_level_is_logged() -> None:
    """A gateway that ran in this process before may have left a level behind."""
    structlog.reset_defaults()


async def well() -> str | None:
    return "version 18"


async def silent() -> str | None:
    return None


async def unwell() -> str | None:
    raise NotWell("the disk is full")


async def unreachable() -> str | None:
    raise ConnectionRefusedError


async def away() -> str | None:
    raise Unavailable("The database did not answer.")


async def buggy() -> str | None:
    raise KeyError("swordfish")


async def endless() -> str | None:
    await asyncio.Event().wait()
    return None


@pytest.mark.parametrize(
    ("check", "status", "details"),
    [
        (well, Wellness.OK, "version 18"),
        (silent, Wellness.OK, ""),
        (unwell, Wellness.ERROR, "the disk is full"),
        (unreachable, Wellness.ERROR, "ConnectionRefusedError"),
        (away, Wellness.ERROR, "The database did not answer."),
        (buggy, Wellness.ERROR, "the check itself failed; see the log"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_what_a_check_says_is_remembered(check: health_module.Check, status: Wellness, details: str) -> None:
    registry = HealthRegistry()
    registry.add("thing", "one", check)

    with capture_logs():
        await registry.check_all()

    (found,) = registry.all
    assert (found.type, found.name, found.status, found.details) == ("thing", "one", status, details)


async def test_a_check_that_does_not_end_is_given_up_and_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health_module, "TIMEOUT_S", 0.01)
    registry = HealthRegistry()
    registry.add("thing", "stuck", endless)
    registry.add("thing", "fine", well)

    await registry.check_all()

    assert [one.status for one in registry.all] == [Wellness.ERROR, Wellness.OK]
    assert registry.all[0].details == "no answer within 0.01 s"


async def test_it_is_ready_when_everything_required_is_well() -> None:
    registry = HealthRegistry()
    registry.add("thing", "needed", well, is_required=True)
    registry.add("thing", "wanted", unwell)
    before = registry.is_ready

    await registry.check_all()

    assert not before  # nobody has looked yet
    assert registry.is_ready


async def test_it_is_not_ready_when_something_required_is_not_well() -> None:
    registry = HealthRegistry()
    registry.add("thing", "needed", unwell, is_required=True)

    await registry.check_all()

    assert not registry.is_ready


async def test_a_process_that_was_told_to_stop_is_not_ready_however_well_everything_is() -> None:
    draining = Draining()
    registry = HealthRegistry(draining=draining)
    registry.add("thing", "needed", well, is_required=True)
    await registry.check_all()
    before = registry.is_ready

    draining.begin()

    assert before
    assert not registry.is_ready


async def test_a_change_is_logged_once() -> None:
    answers = iter([well, unwell, unwell, well])

    async def changing() -> str | None:
        return await next(answers)()

    registry = HealthRegistry()
    registry.add("thing", "one", changing)

    with capture_logs() as events:
        for _ in range(4):
            await registry.check_all()

    assert [(event["event"], event["status"]) for event in events] == [
        ("health.changed", Wellness.ERROR),
        ("health.changed", Wellness.OK),
    ]
