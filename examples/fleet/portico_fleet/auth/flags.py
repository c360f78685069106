"""What the auth program is told besides where to listen."""

import os
import re
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import dataclass

from portico_fleet.options import Options, parser, read

_PASSWORD_AT_LEAST_CHARS = 8
_A_QUARTER_HOUR_S = 15 * 60
_THIRTY_DAYS_S = 30 * 24 * 3600


@dataclass(frozen=True, slots=True)
class AuthOptions:
    """An empty `admin_email` means that no admin is seeded, an empty `front_door_url` that no gateway is told."""

    common: Options
    admin_email: str
    admin_password: str
    access_ttl_s: int
    refresh_ttl_s: int
    is_key_rotated: bool
    front_door_url: str


def parse(words: Sequence[str] | None = None) -> AuthOptions:
    """Read flags (those of the process by default) and environment; bad usage ends the process with 2."""
    flags = _flags()
    told = flags.parse_args(words)
    if bool(told.admin_email) != bool(told.admin_password):
        flags.error("--admin-email and --admin-password go together")
    if told.admin_password and len(told.admin_password) < _PASSWORD_AT_LEAST_CHARS:
        flags.error(f"the admin's password needs {_PASSWORD_AT_LEAST_CHARS} characters")
    if told.front_door_url and not re.fullmatch(r"https?://[^/?#]+(/[^?#]*)?", told.front_door_url):
        flags.error("--front-door-url is no http or https URL")
    if told.access_token_ttl_s < 1 or told.refresh_token_ttl_s < 1:
        flags.error("a token must live for at least a second")
    return AuthOptions(
        common=read(told),
        admin_email=told.admin_email,
        admin_password=told.admin_password,
        access_ttl_s=told.access_token_ttl_s,
        refresh_ttl_s=told.refresh_token_ttl_s,
        is_key_rotated=told.rotate_key,
        front_door_url=told.front_door_url,
    )


def _flags() -> ArgumentParser:
    flags = parser("auth", port=8001, description="Users, sessions and signing keys.")
    env = os.environ.get
    flags.add_argument("--admin-email", default=env("ADMIN_EMAIL", ""), help="seed this admin (env ADMIN_EMAIL)")
    flags.add_argument(
        "--admin-password",
        default=env("ADMIN_PASSWORD", ""),
        help="env ADMIN_PASSWORD, which other users of the machine cannot see",
    )
    flags.add_argument("--access-token-ttl-s", type=int, default=env("ACCESS_TOKEN_TTL_S", str(_A_QUARTER_HOUR_S)))
    flags.add_argument("--refresh-token-ttl-s", type=int, default=env("REFRESH_TOKEN_TTL_S", str(_THIRTY_DAYS_S)))
    flags.add_argument(
        "--front-door-url",
        default=env("FRONT_DOOR_URL", ""),
        help="the gateway to tell of logouts everywhere (env FRONT_DOOR_URL)",
    )
    flags.add_argument("--rotate-key", action="store_true", help="sign with a new key; the old ones stay published")
    return flags
