"""What an owner has asked to be told, where and when: a task's `notification_config`, read and checked.

Shapes: `{"channels", "on", "email_address", "slack_webhook_url", "telegram_chat_id", "webhook_url", "quiet_hours":
{"start", "end", "timezone", "urgent"}, "dedupe_s"}`, each of which may be absent. In-app is always on.
Rule: what is the operator's (a mail server's password, a bot's token, the key of signatures) is never in it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import time
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from app.features.notifications.domain.news import Channel, Kind, Target
from app.features.notifications.domain.quiet import QuietHours
from app.kernel.errors import FieldError
from app.kernel.values import Json

DEFAULT_ON = frozenset({Kind.ERROR, Kind.WARNING, Kind.WAITING, Kind.APPROVAL})
DEFAULT_URGENT = frozenset({Kind.ERROR, Kind.APPROVAL})
MOST_ADDRESSES = 10
LONGEST_DEDUPE_S = 7 * 24 * 3600
URL_LIMIT_CHARS = 2000
_EMAIL = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_CHAT = re.compile(r"-?[0-9]{1,20}|@[A-Za-z0-9_]{4,32}")
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_URL = re.compile(r"https?://[\x21-\x7e]+")
_KINDS = [kind for kind in Kind if kind is not Kind.TEST]


@dataclass(frozen=True, slots=True)
class NotificationConfig:
    """`urgent` is sent in quiet hours too. What tells the same within `dedupe_s` seconds is sent once."""

    channels: frozenset[Channel] = frozenset({Channel.IN_APP})
    on: frozenset[Kind] = DEFAULT_ON
    email_addresses: tuple[str, ...] = ()
    slack_webhook_url: str = ""
    telegram_chat_id: str = ""
    webhook_url: str = ""
    quiet: QuietHours | None = None
    urgent: frozenset[Kind] = DEFAULT_URGENT
    dedupe_s: int = 0

    def wants(self, kind: Kind) -> bool:
        """Tell whether it is to be sent; in-app it is in any case."""
        return kind is Kind.TEST or kind in self.on

    def quiet_for(self, kind: Kind) -> QuietHours | None:
        return None if kind is Kind.TEST or kind in self.urgent else self.quiet

    def targets(self) -> Sequence[Target]:
        """List where it goes, in-app aside; each place once."""
        places = {
            Channel.EMAIL: self.email_addresses,
            Channel.SLACK: (self.slack_webhook_url,),
            Channel.TELEGRAM: (self.telegram_chat_id,),
            Channel.WEBHOOK: (self.webhook_url,),
        }
        return [Target(channel, place) for channel in places if channel in self.channels for place in places[channel]]


@dataclass(frozen=True, slots=True)
class Reach:
    """What the operator has set up; each is false without the settings it needs."""

    email: bool = False
    slack: bool = False
    telegram: bool = False
    webhook: bool = False


ANYWHERE = Reach(email=True, slack=True, telegram=True, webhook=True)
"""where everything is set up"""


def read_config(given: Mapping[str, Json] | None) -> NotificationConfig:
    """Read what was checked when it was stored; of what cannot be read any more the default holds."""
    return _Reader(given or {}).read()


def config_problems(given: Mapping[str, Json], reach: Reach, *, at: str = "") -> list[FieldError]:
    """Tell everything wrong with it, each with its mend; `at` is where it stands in the caller's body."""
    reader = _Reader(given)
    config = reader.read()
    found = [*reader.problems, *_missing(config, reader.named), *_out_of_reach(config, reach)]
    return [replace(one, field=".".join(part for part in (at, one.field) if part)) for one in found]


def _missing(config: NotificationConfig, named: frozenset[str]) -> list[FieldError]:
    needs = (
        (Channel.EMAIL, "email_address", config.email_addresses, "an address, or a list of them"),
        (Channel.TELEGRAM, "telegram_chat_id", config.telegram_chat_id, "the id of the chat with the bot"),
        (Channel.WEBHOOK, "webhook_url", config.webhook_url, "where to post it"),
    )
    return [
        FieldError(field_, f"is missing for the channel {channel}: give {what}")
        for channel, field_, value, what in needs
        if channel in config.channels and not value and field_ not in named
    ]


def _out_of_reach(config: NotificationConfig, reach: Reach) -> list[FieldError]:
    has_slack = reach.slack or bool(config.slack_webhook_url)
    needs = (
        (Channel.EMAIL, reach.email, "the operator has to set SMTP_HOST and SMTP_FROM"),
        (Channel.SLACK, has_slack, "give slack_webhook_url, or the operator has to set SLACK_WEBHOOK_URL"),
        (Channel.TELEGRAM, reach.telegram, "the operator has to set TELEGRAM_BOT_TOKEN"),
        (Channel.WEBHOOK, reach.webhook, "the operator has to set NOTIFICATION_SECRET, which signatures are made with"),
    )
    return [
        FieldError("channels", f"{channel} is not set up here: {mend}")
        for channel, is_there, mend in needs
        if channel in config.channels and not is_there
    ]


@dataclass(slots=True)
class _Reader:
    """Collects what is wrong instead of stopping at the first; what is wrong has its default then."""

    given: Mapping[str, Json]
    problems: list[FieldError] = field(default_factory=list)

    @property
    def named(self) -> frozenset[str]:
        return frozenset(self.given)

    def read(self) -> NotificationConfig:
        known = {
            "channels", "on", "email_address", "slack_webhook_url", "telegram_chat_id", "webhook_url", "quiet_hours",
            "dedupe_s",
        }  # fmt: skip
        for name in sorted(set(self.given) - known):
            self.say(name, f"is not known; there are {', '.join(sorted(known))}")
        emails = self.take("email_address", _emails, ())
        slack = self.take("slack_webhook_url", _url, "")
        telegram = self.take("telegram_chat_id", _chat, "")
        webhook = self.take("webhook_url", _url, "")
        quiet = self.given.get("quiet_hours")
        hours, urgent = self._quiet(quiet) if quiet is not None else (None, DEFAULT_URGENT)
        given = {
            Channel.EMAIL: bool(emails),
            Channel.SLACK: bool(slack),
            Channel.TELEGRAM: bool(telegram),
            Channel.WEBHOOK: bool(webhook),
        }
        named = frozenset(channel for channel, is_given in given.items() if is_given)
        channels = self.take("channels", _several(list(Channel)), named)
        return NotificationConfig(
            channels=channels | {Channel.IN_APP},
            on=self.take("on", _several(_KINDS), DEFAULT_ON),
            email_addresses=emails,
            slack_webhook_url=slack,
            telegram_chat_id=telegram,
            webhook_url=webhook,
            quiet=hours,
            urgent=urgent,
            dedupe_s=self.take("dedupe_s", _seconds, 0),
        )

    def _quiet(self, given: Json) -> tuple[QuietHours | None, frozenset[Kind]]:
        if not isinstance(given, Mapping):
            self.say("quiet_hours", "must be an object with start, end and timezone")
            return None, DEFAULT_URGENT
        inner = _Reader(given)
        for name in sorted(set(given) - {"start", "end", "timezone", "urgent"}):
            inner.say(name, "is not known; there are end, start, timezone, urgent")
        start, end = inner.take("start", _wall, None), inner.take("end", _wall, None)
        zone = inner.take("timezone", _zone, "UTC")
        urgent = inner.take("urgent", _several(_KINDS), DEFAULT_URGENT)
        for name in ("start", "end"):
            if given.get(name) is None:
                inner.say(name, "is missing: give a time as 22:00")
        if start is not None and start == end:
            inner.say("end", "must be another time than start")
        self.problems += [replace(one, field=f"quiet_hours.{one.field}") for one in inner.problems]
        is_whole = start is not None and end is not None and start != end
        return (QuietHours(start, end, zone) if is_whole else None), urgent  # type: ignore[arg-type] # both are there

    def take[T, D](self, name: str, parse: Callable[[Json], T], default: D) -> T | D:
        value = self.given.get(name)
        if value is None:
            return default
        try:
            return parse(value)
        except ValueError as error:
            self.say(name, str(error))
            return default

    def say(self, name: str, message: str) -> None:
        self.problems.append(FieldError(name, message))


# Each reads one value and raises ValueError with what is to be said of another one.
def _several[T: (Kind, Channel)](allowed: Sequence[T]) -> Callable[[Json], frozenset[T]]:
    names = {one.value: one for one in allowed}

    def parse(value: Json) -> frozenset[T]:
        is_list = isinstance(value, Sequence) and not isinstance(value, str)
        if not is_list or any(not isinstance(one, str) or one not in names for one in value):  # type: ignore[union-attr] # a list
            raise ValueError(f"must be a list of some of {', '.join(names)}")
        return frozenset(names[one] for one in value)  # type: ignore[union-attr,index] # a list of names

    return parse


def _emails(value: Json) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    is_list = isinstance(given, Sequence) and not isinstance(given, str) and 1 <= len(given) <= MOST_ADDRESSES
    found = [one for one in given if isinstance(one, str) and _EMAIL.fullmatch(one)] if is_list else []  # type: ignore[union-attr] # a list
    if not is_list or len(found) != len(given):  # type: ignore[arg-type] # a list
        raise ValueError(f"must be an address as ann@example.org, or a list of at most {MOST_ADDRESSES} of them")
    return tuple(dict.fromkeys(found))


def _url(value: Json) -> str:
    words = f"must be an http or https URL of at most {URL_LIMIT_CHARS} characters, without a user name"
    if not isinstance(value, str) or len(value) > URL_LIMIT_CHARS or not _URL.fullmatch(value):
        raise ValueError(words)
    try:
        parts = urlsplit(value)
        is_url = bool(parts.hostname) and parts.username is None and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise ValueError(words)
    return value


def _chat(value: Json) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _CHAT.fullmatch(text):
        raise ValueError("must be the id of a chat (a number), or @ and the name of a channel")
    return text


def _wall(value: Json) -> time:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a time from 00:00 to 23:59")
    return time(int(found[1]), int(found[2]))


def _zone(value: Json) -> str:
    words = "must be a name of the IANA database, as Europe/Berlin"
    if not isinstance(value, str) or len(value) > 64:
        raise ValueError(words)
    try:
        return ZoneInfo(value).key
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: a folder of the database, as "Europe"
        raise ValueError(words) from None


def _seconds(value: Json) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LONGEST_DEDUPE_S:
        raise ValueError(f"must be whole seconds from 0 to {LONGEST_DEDUPE_S}")
    return value
