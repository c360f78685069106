"""Users, sessions and signing keys, put together as a program."""

import os
from argparse import ArgumentParser, Namespace
from functools import partial

from litestar import Litestar

from portico_fleet.application import assemble, given
from portico_fleet.auth import accounts, endpoints, sessions
from portico_fleet.auth.desk import Desk, now_s
from portico_fleet.auth.keys import load_keys
from portico_fleet.auth.passwords import Passwords, hash_password
from portico_fleet.auth.tokens import AccessTokens
from portico_fleet.options import Options, parser, read
from portico_fleet.serving import serve
from portico_fleet.store import Store

_PASSWORD_AT_LEAST_CHARS = 8


def main() -> None:
    flags = _flags()
    arguments = flags.parse_args()
    if bool(arguments.admin_email) != bool(arguments.admin_password):
        flags.error("--admin-email and --admin-password go together")
    if arguments.admin_password and len(arguments.admin_password) < _PASSWORD_AT_LEAST_CHARS:
        flags.error(f"the admin's password needs {_PASSWORD_AT_LEAST_CHARS} characters")
    if arguments.access_token_ttl_s < 1 or arguments.refresh_token_ttl_s < 1:
        flags.error("a token must live for at least a second")
    options = read(arguments)
    serve(options, partial(_build, options, arguments))


def _flags() -> ArgumentParser:
    flags = parser("auth", port=8001, description="Users, sessions and signing keys.")
    env = os.environ.get
    flags.add_argument("--admin-email", default=env("ADMIN_EMAIL"), help="seed this admin (env ADMIN_EMAIL)")
    flags.add_argument(
        "--admin-password",
        default=env("ADMIN_PASSWORD"),
        help="env ADMIN_PASSWORD, which other users of the machine cannot see",
    )
    flags.add_argument("--access-token-ttl-s", type=int, default=env("ACCESS_TOKEN_TTL_S", "900"))
    flags.add_argument("--refresh-token-ttl-s", type=int, default=env("REFRESH_TOKEN_TTL_S", str(30 * 24 * 3600)))
    flags.add_argument("--rotate-key", action="store_true", help="sign with a new key; the old ones stay published")
    return flags


def _build(options: Options, arguments: Namespace) -> Litestar:
    store = Store(options.data_dir / "auth.sqlite3", accounts.SCHEMA + sessions.SCHEMA)
    keys = load_keys(options.data_dir / "auth-keys", rotate=arguments.rotate_key)
    desk = Desk(
        accounts=accounts.Accounts(store),
        sessions=sessions.Sessions(store, ttl_s=arguments.refresh_token_ttl_s),
        passwords=Passwords(),
        tokens=AccessTokens(keys, ttl_s=arguments.access_token_ttl_s),
    )
    if arguments.admin_email:
        hashed = partial(hash_password, arguments.admin_password)
        desk.accounts.seed_admin(arguments.admin_email, hashed=hashed, now_s=now_s())
    return assemble(
        "Portico demo: auth",
        endpoints.HANDLERS,
        store=store,
        dependencies={"desk": given(desk), "keys": given(keys)},
    )
