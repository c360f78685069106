"""What an owner may ask to be told, and what is said of what he may not."""

from collections.abc import Mapping

import pytest

from app.features.notifications.domain.config import ANYWHERE, Reach, config_problems, read_config
from app.features.notifications.domain.news import Channel, Kind, Target
from app.kernel.values import Json

HOOK = "https://example.org/hook"
AT_NIGHT: Mapping[str, Json] = {"start": "22:00", "end": "07:00", "timezone": "Europe/Berlin"}


def problems(given: Mapping[str, Json], reach: Reach = ANYWHERE) -> list[str]:
    return [f"{one.field}: {one.message}" for one in config_problems(given, reach)]


@pytest.mark.parametrize("given", [None, {}, {"channels": ["in_app"]}])
def test_without_a_wish_it_is_told_in_app_alone(given: Mapping[str, Json] | None) -> None:
    config = read_config(given)

    assert config.channels == {Channel.IN_APP}
    assert config.targets() == []
    assert config.on == {Kind.ERROR, Kind.WARNING, Kind.WAITING, Kind.APPROVAL}


def test_a_channel_whose_address_is_given_is_meant() -> None:
    config = read_config({"webhook_url": HOOK, "email_address": "ann@example.org", "telegram_chat_id": -100123})

    assert config.channels == {Channel.IN_APP, Channel.WEBHOOK, Channel.EMAIL, Channel.TELEGRAM}
    assert config.targets() == [
        Target(Channel.EMAIL, "ann@example.org"),
        Target(Channel.TELEGRAM, "-100123"),
        Target(Channel.WEBHOOK, HOOK),
    ]


def test_channels_that_are_named_are_all_there_are_and_each_address_is_one_place() -> None:
    emails: Json = ["ann@example.org", "ben@example.org", "ann@example.org"]
    config = read_config({"channels": ["email", "slack"], "email_address": emails, "webhook_url": HOOK})

    assert [(one.channel, one.address) for one in config.targets()] == [
        (Channel.EMAIL, "ann@example.org"),
        (Channel.EMAIL, "ben@example.org"),
        (Channel.SLACK, ""),
    ]


@pytest.mark.parametrize("kind", list(Kind))
def test_what_is_sent_is_what_was_asked_for_and_a_test_always(kind: Kind) -> None:
    config = read_config({"on": ["success", "error"], "webhook_url": HOOK})

    assert config.wants(kind) is (kind in {Kind.SUCCESS, Kind.ERROR, Kind.TEST})


def test_in_quiet_hours_only_what_is_urgent_is_sent() -> None:
    usual = read_config({"quiet_hours": AT_NIGHT})
    own = read_config({"quiet_hours": {**AT_NIGHT, "urgent": ["success"]}})

    assert {kind for kind in Kind if usual.quiet_for(kind) is None} == {Kind.ERROR, Kind.APPROVAL, Kind.TEST}
    assert {kind for kind in Kind if own.quiet_for(kind) is None} == {Kind.SUCCESS, Kind.TEST}


@pytest.mark.parametrize(
    ("given", "field", "words"),
    [
        ({"channels": ["push"]}, "channels", "must be a list of some of in_app, email, slack, telegram, webhook"),
        ({"channels": "email"}, "channels", "must be a list"),
        ({"on": ["test"]}, "on", "must be a list of some of success, warning, error, waiting, approval"),
        ({"on": [["error"]]}, "on", "must be a list"),
        ({"colour": 1}, "colour", "is not known; there are channels, dedupe_s, email_address"),
        ({"channels": ["email"]}, "email_address", "is missing for the channel email: give an address"),
        ({"email_address": "ann"}, "email_address", "must be an address as ann@example.org"),
        ({"email_address": "ann@example.org\r\nBcc: all@example.org"}, "email_address", "must be an address"),
        ({"email_address": []}, "email_address", "a list of at most 10"),
        ({"email_address": ["a@b.de"] * 11}, "email_address", "a list of at most 10"),
        ({"email_address": {"a@b.de": 1}}, "email_address", "must be an address"),
        ({"channels": ["webhook"]}, "webhook_url", "is missing for the channel webhook: give where to post it"),
        ({"webhook_url": "ftp://example.org"}, "webhook_url", "must be an http or https URL"),
        ({"webhook_url": "https://ann:secret@example.org"}, "webhook_url", "without a user name"),
        ({"webhook_url": "https://[::1"}, "webhook_url", "must be an http or https URL"),
        ({"webhook_url": "https://example.org/" + "x" * 2000}, "webhook_url", "of at most 2000 characters"),
        ({"slack_webhook_url": "https://a b"}, "slack_webhook_url", "must be an http or https URL"),
        ({"channels": ["telegram"]}, "telegram_chat_id", "is missing for the channel telegram"),
        ({"telegram_chat_id": "ann"}, "telegram_chat_id", "must be the id of a chat"),
        ({"telegram_chat_id": True}, "telegram_chat_id", "must be the id of a chat"),
        ({"dedupe_s": -1}, "dedupe_s", "must be whole seconds from 0 to 604800"),
        ({"dedupe_s": True}, "dedupe_s", "must be whole seconds"),
        ({"quiet_hours": []}, "quiet_hours", "must be an object with start, end and timezone"),
        ({"quiet_hours": {**AT_NIGHT, "start": "24:00"}}, "quiet_hours.start", "must be a time from 00:00 to 23:59"),
        ({"quiet_hours": {"start": "22:00"}}, "quiet_hours.end", "is missing: give a time as 22:00"),
        ({"quiet_hours": {**AT_NIGHT, "end": "22:00"}}, "quiet_hours.end", "must be another time than start"),
        ({"quiet_hours": {**AT_NIGHT, "timezone": "Berlin"}}, "quiet_hours.timezone", "as Europe/Berlin"),
        ({"quiet_hours": {**AT_NIGHT, "timezone": "../etc"}}, "quiet_hours.timezone", "as Europe/Berlin"),
        ({"quiet_hours": {**AT_NIGHT, "timezone": "Europe"}}, "quiet_hours.timezone", "as Europe/Berlin"),
        ({"quiet_hours": {**AT_NIGHT, "until": "x"}}, "quiet_hours.until", "is not known"),
    ],
)
def test_what_is_wrong_is_told_once_with_its_mend(given: Mapping[str, Json], field: str, words: str) -> None:
    (problem,) = problems(given)

    assert problem.startswith(f"{field}: ")
    assert words in problem


def test_everything_wrong_is_told_at_once() -> None:
    found = problems({"channels": ["email", "telegram"], "dedupe_s": "x", "on": 1})

    assert [one.partition(":")[0] for one in found] == ["on", "dedupe_s", "email_address", "telegram_chat_id"]


@pytest.mark.parametrize(
    ("given", "mend"),
    [
        ({"email_address": "ann@example.org"}, "email is not set up here: the operator has to set SMTP_HOST"),
        ({"channels": ["slack"]}, "slack is not set up here: give slack_webhook_url"),
        ({"telegram_chat_id": 7}, "telegram is not set up here: the operator has to set TELEGRAM_BOT_TOKEN"),
        ({"webhook_url": HOOK}, "webhook is not set up here: the operator has to set NOTIFICATION_SECRET"),
    ],
)
def test_a_channel_that_the_operator_has_not_set_up_is_refused_by_the_setting_it_needs(
    given: Mapping[str, Json], mend: str
) -> None:
    (found,) = problems(given, Reach())

    assert mend in found
    assert problems(given) == []


def test_an_owners_own_slack_needs_nothing_of_the_operator() -> None:
    assert problems({"slack_webhook_url": "https://hooks.slack.com/services/T/B/x"}, Reach()) == []


def test_problems_stand_where_the_configuration_stands() -> None:
    (found,) = config_problems({"dedupe_s": -1}, ANYWHERE, at="notification_config")

    assert found.field == "notification_config.dedupe_s"


def test_what_was_stored_and_cannot_be_read_any_more_is_told_in_app() -> None:
    assert read_config({"channels": ["pigeon"], "on": "all"}).targets() == []
