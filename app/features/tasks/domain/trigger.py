"""What a task says of the webhook that sets it off: how deliveries are verified, and which of them are acted on. Pure.

    {"verify": "standard"}
    {"verify": "hmac-sha256", "header": "X-Hub-Signature-256", "prefix": "sha256=", "id_header": "X-GitHub-Delivery"}
    {"verify": "hmac-sha256", "header": "X-Slack-Signature", "prefix": "v0=",
     "timestamp_header": "X-Slack-Request-Timestamp", "base": "v0:{timestamp}:{body}"}
    {"verify": "bearer", "filter": [{"path": "action", "equals": "opened"}, {"path": "issue.labels", "exists": true}]}

Rule: a configuration is judged as a whole by `trigger_problems` before it is kept; `of` reads what was kept.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self, cast

from app.features.tasks.domain.payload import MAX_PATH_CHARS, MISSING, look_up, path_problem
from app.features.tasks.domain.signatures import Bearer, Encoding, Hmac, Scheme, Standard
from app.kernel.errors import FieldError
from app.kernel.values import Json

MAX_CONDITIONS = 20
MAX_CHOICES = 100
MAX_TEXT_CHARS = 200
MAX_RATE_PER_MINUTE = 6000
RATE_PER_MINUTE = 60
SCHEMES = ("standard", "hmac-sha256", "bearer")
_OF_HMAC = ("header", "prefix", "encoding", "timestamp_header", "base", "id_header")
_KEYS = frozenset({"verify", "filter", "rate_per_minute", *_OF_HMAC})
_CONDITION_KEYS = frozenset({"path", "equals", "in", "exists"})
_HEADER = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]{1,100}")
_TEXT = re.compile(r"[\x20-\x7e]*")


@dataclass(frozen=True, slots=True)
class Condition:
    """One of `choices` must stand at `path`; without any, it is only asked whether something does."""

    path: str
    choices: tuple[Json, ...] = ()
    exists: bool = True

    def holds(self, payload: Json) -> bool:
        found = look_up(payload, self.path)
        if not self.choices:
            return (found is not MISSING) is self.exists
        return found is not MISSING and any(_same(found, choice) for choice in self.choices)

    def __str__(self) -> str:
        if not self.choices:
            return f"{self.path} {'is there' if self.exists else 'is not there'}"
        return f"{self.path} is what was asked for"


@dataclass(frozen=True, slots=True)
class TriggerConfig:
    scheme: Scheme = field(default_factory=Standard)
    conditions: tuple[Condition, ...] = ()
    rate_per_minute: int = RATE_PER_MINUTE

    @classmethod
    def of(cls, config: Mapping[str, Json] | None) -> Self:
        """Read what has no problems."""
        config = config or {}
        rate = config.get("rate_per_minute", RATE_PER_MINUTE)
        return cls(
            _scheme_of(config), tuple(_conditions_of(config)), rate if isinstance(rate, int) else RATE_PER_MINUTE
        )

    def objection(self, payload: Json) -> str | None:
        """Say why a delivery is not acted on; None when it is."""
        for condition in self.conditions:
            if not condition.holds(payload):
                return f"the filter asks that {condition}"
        return None


def trigger_problems(config: Mapping[str, Json] | None) -> list[FieldError]:
    """Find everything wrong with a `trigger_config`; none at all is right, and means Standard Webhooks."""
    return [FieldError(f"trigger_config.{field}", words) for field, words in _problems(config or {})]


def _problems(config: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for name in sorted(config.keys() - _KEYS):
        yield name, "is not a known field"
    verify = config.get("verify", SCHEMES[0])
    if verify not in SCHEMES:
        yield "verify", f"must be one of {', '.join(SCHEMES)}"
    elif verify == "hmac-sha256":
        yield from _hmac_problems(config)
    else:
        for name in _OF_HMAC:
            if name in config:
                yield name, "goes with hmac-sha256"
    yield from _filter_problems(config.get("filter"))
    rate = config.get("rate_per_minute", RATE_PER_MINUTE)
    if isinstance(rate, bool) or not isinstance(rate, int) or not 1 <= rate <= MAX_RATE_PER_MINUTE:
        yield "rate_per_minute", f"must be a whole number from 1 to {MAX_RATE_PER_MINUTE}"


def _hmac_problems(config: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for name in ("header", "timestamp_header", "id_header"):
        value = config.get(name)
        if name in config and not (isinstance(value, str) and _HEADER.fullmatch(value)):
            yield name, "must be the name of a header"
    if config.get("encoding", "hex") not in {"hex", "base64"}:
        yield "encoding", "must be hex or base64"
    texts = {name: config.get(name, "") for name in ("prefix", "base")}
    for name, value in texts.items():
        if not (isinstance(value, str) and len(value) <= MAX_TEXT_CHARS and _TEXT.fullmatch(value)):
            yield name, f"must be a text of up to {MAX_TEXT_CHARS} visible ASCII characters"
    base = texts["base"]
    if "base" in config and isinstance(base, str):
        if base.count("{body}") != 1:
            yield "base", "must hold {body} once"
        if ("{timestamp}" in base) is not ("timestamp_header" in config):
            yield "base", "must hold {timestamp} where there is a timestamp_header, and nowhere else"


def _filter_problems(value: Json) -> Iterator[tuple[str, str]]:
    if value is None:
        return
    if not isinstance(value, list) or len(value) > MAX_CONDITIONS:
        yield "filter", f"must be a list of up to {MAX_CONDITIONS} conditions"
        return
    for number, condition in enumerate(value):
        problem = _condition_problem(condition)
        if problem is not None:
            yield f"filter.{number}", problem


def _condition_problem(condition: Json) -> str | None:
    if not isinstance(condition, Mapping) or condition.keys() - _CONDITION_KEYS or len(condition) != 2:
        return "must hold path, and one of equals, in, exists"
    path = condition.get("path")
    if not isinstance(path, str) or (problem := path_problem(path)) is not None:
        return f"path must be names with dots between them, of up to {MAX_PATH_CHARS} characters"
    del problem
    choices = condition.get("in", [""])
    if not isinstance(choices, list) or not 1 <= len(choices) <= MAX_CHOICES:
        return f"in must be a list of 1 to {MAX_CHOICES} values"
    if any(isinstance(choice, list | Mapping) for choice in [*choices, condition.get("equals")]):
        return "compares texts, numbers, true, false and null"
    if not isinstance(condition.get("exists", True), bool):
        return "exists must be true or false"
    return None


def _scheme_of(config: Mapping[str, Json]) -> Scheme:
    match config.get("verify"):
        case "hmac-sha256":
            return _hmac_of(config)
        case "bearer":
            return Bearer()
        case _:
            return Standard()


def _hmac_of(config: Mapping[str, Json]) -> Hmac:
    def text(name: str, otherwise: str) -> str:
        value = config.get(name)
        return value if isinstance(value, str) else otherwise

    stamp, id_ = text("timestamp_header", ""), text("id_header", "")
    return Hmac(
        header=text("header", Hmac().header),
        # GitHub's belongs to GitHub's header; another header's has none unless it says so
        prefix=text("prefix", "" if "header" in config else Hmac().prefix),
        encoding=cast("Encoding", text("encoding", "hex")),
        timestamp_header=stamp or None,
        base=text("base", "{timestamp}.{body}" if stamp else "{body}"),
        id_header=id_ or None,
    )


def _conditions_of(config: Mapping[str, Json]) -> Iterator[Condition]:
    filter_ = config.get("filter")
    for condition in filter_ if isinstance(filter_, Sequence) and not isinstance(filter_, str) else ():
        match condition:
            case {"path": str(path), "equals": wanted}:
                yield Condition(path, (wanted,))
            case {"path": str(path), "in": [*choices]}:
                yield Condition(path, tuple(choices))
            case {"path": str(path), "exists": bool(exists)}:
                yield Condition(path, exists=exists)
            case _:
                continue


def _same(found: Json, wanted: Json) -> bool:
    """Compare as JSON does: true is not 1."""
    return isinstance(found, bool) is isinstance(wanted, bool) and found == wanted
