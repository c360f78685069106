"""Users, sessions and signing keys, put together as a program."""

from functools import partial

from litestar import Litestar

from portico_fleet.application import assemble, given
from portico_fleet.auth import accounts, endpoints, sessions
from portico_fleet.auth.desk import Desk, now_s
from portico_fleet.auth.flags import AuthOptions, parse
from portico_fleet.auth.front_door import FrontDoor
from portico_fleet.auth.keys import load_keys
from portico_fleet.auth.passwords import Passwords, hash_password
from portico_fleet.auth.tokens import AccessTokens
from portico_fleet.serving import serve
from portico_fleet.store import Store


def main() -> None:
    options = parse()
    serve(options.common, partial(_build, options))


def _build(options: AuthOptions) -> Litestar:
    folder = options.common.data_dir
    store = Store(folder / "auth.sqlite3", accounts.SCHEMA + sessions.SCHEMA)
    keys = load_keys(folder / "auth-keys", rotate=options.is_key_rotated)
    desk = Desk(
        accounts=accounts.Accounts(store),
        sessions=sessions.Sessions(store, ttl_s=options.refresh_ttl_s),
        passwords=Passwords(),
        tokens=AccessTokens(keys, ttl_s=options.access_ttl_s),
    )
    if options.admin_email:
        hashed = partial(hash_password, options.admin_password)
        desk.accounts.seed_admin(options.admin_email, hashed=hashed, now_s=now_s())
    return assemble(
        "Portico demo: auth",
        endpoints.HANDLERS,
        store=store,
        dependencies={
            "desk": given(desk),
            "keys": given(keys),
            "front_door": given(FrontDoor(options.front_door_url, desk.tokens)),
        },
    )
