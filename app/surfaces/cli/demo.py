"""`portico demo`: the whole system on one machine, nothing to configure, nothing left behind when it ends.

The fleet's sockets are bound here and inherited, so that no port can be taken between choosing and using it.
"""

import os
import secrets
import threading
from contextlib import suppress
from pathlib import Path

from app.kernel.folders import default_data_dir
from app.kernel.shared_use import LockBusy, one_at_a_time
from app.settings import load_dotenv
from app.surfaces.cli import fleet, serve
from app.surfaces.cli.command_failed import CommandFailed
from app.surfaces.cli.listener import Bound, Listener, open_listener, url_of
from app.surfaces.cli.model import default_model
from app.surfaces.cli.root import Root
from app.surfaces.cli.welcome import Welcome

# What would point the demo at somebody's real system; the demo has its own.
_NOT_FOR_THE_DEMO = ("POSTGRES_DSN", "JWT_PUBLIC_KEY", "FRONT_DOOR_URL", "JWT_ROLE_CLAIM")


def run(root: Root, *, port: int, data_dir: Path | None, has_model: bool) -> int:
    """Serve until Ctrl-C. Errors: CommandFailed, when the port or the folder is in use."""
    load_dotenv()
    folder = (data_dir or default_data_dir() / "demo").absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandFailed(f"{folder} cannot be made ({error.strerror}); choose another with --data-dir") from error
    bound = open_listener(Listener(port=port))
    url = url_of(bound.sockets[0], is_tls=False)
    try:
        with (
            one_at_a_time(folder / "demo.lock", timeout_s=0),
            fleet.running(folder / "fleet", front_door_url=url) as urls,
        ):
            return _serve(root, folder, urls, bound, has_model=has_model)
    except LockBusy:
        raise CommandFailed(
            f"a demo already runs on {folder}; stop it, or start this one with another --data-dir and --port"
        ) from None
    finally:
        bound.close()


def _serve(root: Root, folder: Path, urls: fleet.FleetUrls, bound: Bound, *, has_model: bool) -> int:
    url = url_of(bound.sockets[0], is_tls=False)
    _set_environment(folder, urls, has_model=has_model)
    settings = root.load_settings()
    welcome = Welcome(url, folder, default_model(settings))
    threading.Thread(target=welcome.say, daemon=True).start()
    serve.serve(root, settings, Listener(), bound)
    return 0


def _set_environment(folder: Path, urls: fleet.FleetUrls, *, has_model: bool) -> None:
    for name in _NOT_FOR_THE_DEMO:
        os.environ.pop(name, None)
    os.environ |= {
        "DATA_DIR": str(folder),
        "AUTH_SERVICE_URL": urls.auth,
        "AGENDA_SERVICE_URL": urls.agenda,
        "SNAPSHOT_SERVICE_URL": urls.analytics,
        "JWT_JWKS_URL": f"{urls.auth}/.well-known/jwks.json",
        "JWT_ISSUER": "portico-demo-auth",
        "JWT_AUDIENCE": "portico",
    }
    os.environ.setdefault("NOTIFICATION_SECRET", _kept_secret(folder / "notification.secret"))
    os.environ.setdefault("LOG_LEVEL", "30")  # what is printed is to be read; LOG_LEVEL=20 shows every request
    if not has_model:
        os.environ["DEFAULT_MODEL"] = "none"


def _kept_secret(file: Path) -> str:
    """Give the secret in a file, made the first time: receivers of notifications keep what is derived of it."""
    with suppress(FileExistsError), os.fdopen(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "w") as new:
        new.write(secrets.token_urlsafe(48))
    return file.read_text("ascii")
