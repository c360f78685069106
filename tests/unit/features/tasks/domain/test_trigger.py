import pytest

from app.features.tasks.domain.signatures import Bearer, Hmac, Scheme, Standard
from app.features.tasks.domain.trigger import TriggerConfig, trigger_problems
from app.kernel.values import Json

SLACK = {
    "verify": "hmac-sha256",
    "header": "X-Slack-Signature",
    "prefix": "v0=",
    "timestamp_header": "X-Slack-Request-Timestamp",
    "base": "v0:{timestamp}:{body}",
}


@pytest.mark.parametrize(
    ("config", "scheme"),
    [
        (None, Standard()),
        ({}, Standard()),
        ({"verify": "standard"}, Standard()),
        ({"verify": "bearer"}, Bearer()),
        ({"verify": "hmac-sha256"}, Hmac("x-hub-signature-256", "sha256=")),
        ({"verify": "hmac-sha256", "header": "X-Sum"}, Hmac("X-Sum", "")),
        (
            {"verify": "hmac-sha256", "header": "X-Sum", "timestamp_header": "X-At"},
            Hmac("X-Sum", "", timestamp_header="X-At", base="{timestamp}.{body}"),
        ),
        (
            SLACK,
            Hmac(
                "X-Slack-Signature",
                "v0=",
                timestamp_header="X-Slack-Request-Timestamp",
                base="v0:{timestamp}:{body}",
            ),
        ),
    ],
)
def test_a_configuration_without_problems_says_how_deliveries_are_verified(
    config: dict[str, Json] | None, scheme: Scheme
) -> None:
    assert trigger_problems(config) == []
    assert TriggerConfig.of(config).scheme == scheme


@pytest.mark.parametrize(
    ("config", "fields"),
    [
        ({"verify": "md5"}, ["verify"]),
        ({"verify": 7}, ["verify"]),
        ({"secret": "x"}, ["secret"]),
        ({"header": "X-Sum"}, ["header"]),
        ({"verify": "bearer", "prefix": "x"}, ["prefix"]),
        ({"verify": "hmac-sha256", "header": "X Sum"}, ["header"]),
        ({"verify": "hmac-sha256", "header": ""}, ["header"]),
        ({"verify": "hmac-sha256", "prefix": "\n"}, ["prefix"]),
        ({"verify": "hmac-sha256", "encoding": "rot13"}, ["encoding"]),
        ({"verify": "hmac-sha256", "base": "v0"}, ["base"]),
        ({"verify": "hmac-sha256", "base": "{body}{body}"}, ["base"]),
        ({"verify": "hmac-sha256", "base": "{timestamp}{body}"}, ["base"]),
        ({"verify": "hmac-sha256", "base": "{body}", "timestamp_header": "X-At"}, ["base"]),
        ({"verify": "hmac-sha256", "timestamp_header": 1}, ["timestamp_header"]),
        ({"rate_per_minute": 0}, ["rate_per_minute"]),
        ({"rate_per_minute": True}, ["rate_per_minute"]),
        ({"rate_per_minute": 6001}, ["rate_per_minute"]),
        ({"filter": {}}, ["filter"]),
        ({"filter": [{"path": "a", "exists": True}] * 21}, ["filter"]),
        ({"filter": [{"path": "a"}]}, ["filter.0"]),
        ({"filter": ["a"]}, ["filter.0"]),
        ({"filter": [{"path": "a", "equals": 1}, {"path": "", "equals": 1}]}, ["filter.1"]),
        ({"filter": [{"path": "a..b", "equals": 1}]}, ["filter.0"]),
        ({"filter": [{"path": ".".join("a" * 17), "equals": 1}]}, ["filter.0"]),
        ({"filter": [{"path": "a", "equals": 1, "in": [1]}]}, ["filter.0"]),
        ({"filter": [{"equals": 1, "in": [1]}]}, ["filter.0"]),
        ({"filter": [{"path": "a", "equals": {}}]}, ["filter.0"]),
        ({"filter": [{"path": "a", "in": []}]}, ["filter.0"]),
        ({"filter": [{"path": "a", "in": 1}]}, ["filter.0"]),
        ({"filter": [{"path": "a", "in": [[1]]}]}, ["filter.0"]),
        ({"filter": [{"path": "a", "exists": "yes"}]}, ["filter.0"]),
        ({"verify": "md5", "filter": 1, "other": 1}, ["other", "verify", "filter"]),
    ],
)
def test_everything_wrong_with_a_configuration_is_named(config: dict[str, Json], fields: list[str]) -> None:
    assert [problem.field for problem in trigger_problems(config)] == [f"trigger_config.{name}" for name in fields]


@pytest.mark.parametrize(
    ("condition", "acted_on"),
    [
        ({"path": "action", "equals": "opened"}, True),
        ({"path": "action", "equals": "closed"}, False),
        ({"path": "action", "in": ["closed", "opened"]}, True),
        ({"path": "action", "in": ["closed"]}, False),
        ({"path": "issue.labels.1.name", "equals": "bug"}, True),
        ({"path": "issue.labels.2.name", "equals": "bug"}, False),
        ({"path": "issue.labels.x", "exists": False}, True),
        ({"path": "issue", "exists": True}, True),
        ({"path": "issue", "exists": False}, False),
        ({"path": "nothing", "exists": True}, False),
        ({"path": "null", "exists": True}, True),
        ({"path": "null", "equals": None}, True),
        ({"path": "nothing", "equals": None}, False),
        ({"path": "count", "equals": 1}, True),
        ({"path": "count", "equals": True}, False),
        ({"path": "is_draft", "equals": True}, True),
        ({"path": "is_draft", "equals": 1}, False),
    ],
)
def test_a_filter_lets_through_what_holds(condition: dict[str, Json], *, acted_on: bool) -> None:
    payload = {
        "action": "opened",
        "issue": {"labels": [{"name": "new"}, {"name": "bug"}]},
        "null": None,
        "count": 1,
        "is_draft": True,
    }
    assert trigger_problems({"filter": [condition]}) == []

    objection = TriggerConfig.of({"filter": [condition]}).objection(payload)

    assert (objection is None) is acted_on
    assert acted_on or str(condition["path"]) in str(objection)


def test_all_conditions_must_hold() -> None:
    trigger = TriggerConfig.of({"filter": [{"path": "a", "equals": 1}, {"path": "b", "equals": 2}]})

    assert trigger.objection({"a": 1, "b": 2}) is None
    assert trigger.objection({"a": 1, "b": 3}) == "the filter asks that b is what was asked for"


def test_the_rate_is_sixty_a_minute_unless_it_says_otherwise() -> None:
    assert TriggerConfig.of({}).rate_per_minute == 60
    assert TriggerConfig.of({"rate_per_minute": 5}).rate_per_minute == 5
