"""How the texts of settings are read: lists, networks, origins, keys and limits, each checked as a whole; and groups of
settings, which `settings.py` joins.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_settings import NoDecode

from app.kernel.sealing import read_keys

ORIGIN = re.compile(r"[a-z][a-z0-9+.\-]*://(?:[a-z0-9.\-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?")
RULE = re.compile(
    r"(?:risk:(?:reads|writes_inside|writes_outside|destroys)|origin:[^=,\s]+|[^=,:\s]+)=(?:allow|ask|deny)"
)
LARGEST_LIMIT = 10**9
WIDGET_BUDGET = "requests=1000,tokens=1000000,cost=2"
RUN_BUDGET = "requests=50,tool_calls=200,tokens=2000000,cost=5,seconds=1800"


def _parts(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _split(value: object) -> object:
    return _parts(value) if isinstance(value, str) else value


def _network(value: object) -> object:
    return ipaddress.ip_network(value, strict=False) if isinstance(value, str) else value


def _pem(value: object) -> object:
    # a PEM in one line of a .env file carries its newlines as \n
    return value.replace("\\n", "\n").strip() if isinstance(value, str) else value


def _origins(values: tuple[str, ...]) -> tuple[str, ...]:
    """Refuse what no browser sends as `Origin`, and what stands for any: `*`, `null`, a URL with a path."""
    wrong = [value for value in values if not ORIGIN.fullmatch(value)]
    if wrong:
        msg = f"no origins: {', '.join(wrong)}; write scheme://host or scheme://host:port, in lower case"
        raise ValueError(msg)
    return values


def _dsn(value: object) -> object:
    # what other programs write; asyncpg is the one driver here
    return re.sub(r"^postgres(ql)?://", "postgresql+asyncpg://", value) if isinstance(value, str) else value


def _keys(text: str) -> str:
    """Refuse what is no key, in words that do not repeat it."""
    read_keys(text)
    return text


type Keys = Annotated[str, AfterValidator(_keys)]
type Network = Annotated[ipaddress.IPv4Network | ipaddress.IPv6Network, BeforeValidator(_network)]
type Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_origins)]
type Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)]
type Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_split)]
type Pem = Annotated[str, BeforeValidator(_pem)]
type Dsn = Annotated[str, BeforeValidator(_dsn)]


def _pairs(value: object) -> object:
    """Read `requests=50,cost=5`; a part without "=" is a limit without a number, and is refused as one."""
    if not isinstance(value, str):
        return value
    parts = [part.partition("=")[::2] for part in _parts(value)]
    found = dict(parts)
    if len(found) < len(parts):
        msg = "names a limit more than once"
        raise ValueError(msg)
    return found


def _document(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


type Counted = Literal["requests", "tool_calls", "tokens", "cost", "seconds"]
type Most = Annotated[Decimal, Field(ge=0, le=LARGEST_LIMIT)]
type Limits = Annotated[Mapping[Counted, Most], NoDecode, BeforeValidator(_pairs)]
type LimitsByAgent = Annotated[Mapping[str, Limits], NoDecode, BeforeValidator(_document)]


def _rules(text: str) -> str:
    """Refuse what says nothing; read where it is used (`agents/rules.py`), which this module does not know."""
    wrong = [part for part in _parts(text) if not RULE.fullmatch(part)]
    if wrong:
        msg = f"no rules: {', '.join(wrong)}; write TOOL=VERDICT, risk:RISK=VERDICT or origin:PATTERN=VERDICT"
        raise ValueError(msg)
    return text


type ApprovalRules = Annotated[str, AfterValidator(_rules)]


class AgentSettings(BaseModel):
    """What agents may spend, what they are to ask before, their skills, how they hand work on, and who names chats."""

    agents_dir: Path | None = None
    title_model: str = ""
    budget_run: Limits = Field(default=RUN_BUDGET, validate_default=True)
    budget_chat: Limits = Field(default_factory=dict)
    budget_user: Limits = Field(default_factory=dict)
    budget_day: Limits = Field(default_factory=dict)
    budget_agents: LimitsByAgent = Field(default_factory=dict)
    approval_rules: ApprovalRules = ""
    approval_expires_s: int = Field(default=24 * 3600, ge=10, le=90 * 24 * 3600)
    approval_unattended: Literal["deny", "park", "notify"] = "notify"
    skills_dir: Path | None = None
    delegation_depth: int = Field(default=3, ge=0, le=7)
    delegation_at_once: int = Field(default=6, ge=1, le=100)
    usage_retention_days: int = Field(default=400, ge=1, le=36_500)


class WidgetRow(BaseModel):
    """A chat that anonymous visitors may have with one agent; `budget` is the widget's own, for one UTC day."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]
    agent: Annotated[str, Field(min_length=1, max_length=255)]
    budget: Limits = Field(default=WIDGET_BUDGET, validate_default=True)
    session_life_s: int = Field(default=24 * 3600, ge=60, le=30 * 24 * 3600)


class SandboxSettings(BaseModel):
    """What runs the programs of agents, and what each may take."""

    sandbox: Literal["auto", "docker", "bubblewrap", "monty", "off"] = "auto"
    sandbox_python: Path | None = None
    sandbox_image: str = Field(default="python:3.13-slim", pattern=r"^[^\s-]\S*$")
    sandbox_runtime: str = Field(default="", pattern=r"^[A-Za-z0-9._-]*$")
    sandbox_places: int = Field(default=4, ge=1, le=100)
    sandbox_timeout_s: float = Field(default=30, ge=1, le=600)
    sandbox_memory_mb: int = Field(default=512, ge=64, le=65_536)
    sandbox_files_mb: int = Field(default=64, ge=1, le=4096)
    sandbox_folders: int = Field(default=200, ge=1, le=100_000)
    sandbox_retention_days: int = Field(default=30, ge=1, le=3650)


class NotificationSettings(BaseModel):
    """The settings of notifications: the mail server, and what other channels need of the operator."""

    smtp_host: str = Field(default="", pattern=r"^[^\s/:@]*$")
    smtp_port: int | None = Field(default=None, ge=1, le=65535)
    smtp_tls: Literal["starttls", "ssl", "none"] = "starttls"
    smtp_username: str = ""
    smtp_password: str = Field(default="", repr=False, validate_default=True)
    smtp_from: str = Field(default="", pattern=r"^([^<>@\r\n]*<)?[^\s<>@]+@[^\s<>@]+>?$|^$", validate_default=True)
    smtp_ca: Path | None = None
    slack_webhook_url: str = Field(default="", pattern=r"^(https?://[^\s/]+\S*)?$", repr=False)
    telegram_bot_token: str = Field(default="", pattern=r"^[0-9A-Za-z:_-]*$", repr=False)
    telegram_api_url: str = Field(default="https://api.telegram.org", pattern=r"^https?://[^\s/]+(/\S*[^\s/])?$")
    notification_secret: str = Field(default="", pattern=r"^(\S{32,})?$", repr=False)
    notification_networks: Networks = ()

    @field_validator("smtp_password")
    @classmethod
    def _not_in_the_clear(cls, password: str, others: ValidationInfo) -> str:
        if password and others.data.get("smtp_tls") == "none":
            msg = "would be sent in the clear: set SMTP_TLS to starttls or ssl, or unset SMTP_PASSWORD"
            raise ValueError(msg)
        return password

    @field_validator("smtp_from")
    @classmethod
    def _somebody_sends(cls, sender: str, others: ValidationInfo) -> str:
        if others.data.get("smtp_host") and not sender:
            msg = "is missing: SMTP_HOST is set, so say who sends, as portico@example.org"
            raise ValueError(msg)
        return sender


class FeatureSettings(AgentSettings, SandboxSettings, NotificationSettings):
    """The settings of what is behind the front door."""
