"""Make the database's files, whole or not at all, and say with which settings they are served.

A cluster is made beside its place and renamed into it when complete, so a cluster that is there was finished; what a
killed start left behind is swept by the next one.
"""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

from app.infra.db.embedded.account import Account, Outcome, run
from app.infra.db.embedded.binaries import Binaries
from app.infra.db.embedded.errors import FolderRefused, OtherMajorVersion, explain
from app.infra.db.embedded.home import Home

_INITDB_TIMEOUT_S = 120.0
_CREATEDB_TIMEOUT_S = 60.0
_BUILTIN_LOCALE_SINCE = 17
_IO_METHOD_SINCE = 18

# fsync and full_page_writes stay on: what is committed survives any kill.
_SETTINGS = {
    "listen_addresses": "",  # the socket's folder is the only door, and it is closed to other accounts
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "256MB",  # bounds crash recovery, which everybody waits for
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Starts, stops and failures only: an error of a query is told to its client, and the log has no limit of its own.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_checkpoints": "off",
}


def prepare_home(home: Home, account: Account) -> None:
    """Make the folders and check that they are ours. Errors: FolderRefused."""
    try:
        _make_missing(home.root, account)
        _check_owner(home.root)
        _check_reachable(home.root, account)
        _make_socket_dir(home.socket_dir, account)
    except OSError as error:
        raise FolderRefused(f"{home.root} cannot be used ({error.strerror}): choose another DATA_DIR") from error


def has_cluster(cluster: Path) -> bool:
    return (cluster / "PG_VERSION").exists()


def prepare_cluster(home: Home, account: Account, binaries: Binaries) -> Path:
    """Return the cluster's folder, made on the first call. Call it with `start_lock` held.

    Errors: FolderRefused, OtherMajorVersion, DiskFull, ServerDidNotStart.
    """
    # At every start: the initdb of a program that was killed may have gone on writing during the last sweep.
    for left_behind in home.root.glob("making-*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    cluster = home.cluster(binaries.major)
    if has_cluster(cluster):
        _check_cluster(cluster, account, binaries.major)
        return cluster
    _refuse_other_majors(home, binaries.major)
    if cluster.exists() and any(cluster.iterdir()):
        raise FolderRefused(f"{cluster} is not empty and holds no database: move it away or choose another DATA_DIR")
    try:
        _make_cluster(cluster, account, binaries)
    except OSError as error:
        raise explain(f"{error}", home.root) from error
    return cluster


def create_database(name: str, home: Home, account: Account, binaries: Binaries) -> Outcome:
    command: list[str | Path] = [binaries.program("createdb"), "-h", home.socket_dir, "-U", "postgres", name]
    try:
        outcome = run(command, account, timeout_s=_CREATEDB_TIMEOUT_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Outcome(succeeded=False, output=str(error))
    # A start that was killed may have left its createdb running, which then was first.
    return Outcome(succeeded=outcome.succeeded or "already exists" in outcome.output, output=outcome.output)


def server_command(home: Home, cluster: Path, binaries: Binaries) -> list[str]:
    """Settings travel on the command line: those of this version of the program hold for older clusters too."""
    settings = _SETTINGS | {"cluster_name": home.mark}
    if binaries.major >= _IO_METHOD_SINCE:
        settings["io_method"] = "sync"  # no I/O workers beside a small database
    if sys.platform == "linux":
        # Before it recovers, a server syncs its thousand files: one call took 0.5 s where one for each took 3.5 s.
        settings["recovery_init_sync_method"] = "syncfs"
    command = [str(binaries.program("postgres")), "-D", str(cluster), "-k", str(home.socket_dir)]
    return command + [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _make_cluster(cluster: Path, account: Account, binaries: Binaries) -> None:
    making = Path(tempfile.mkdtemp(prefix="making-cluster-", dir=cluster.parent))
    try:
        account.give(making)
        command: list[str | Path] = [binaries.program("initdb"), "-D", making, "-U", "postgres", "-A", "trust"]
        options = ["-E", "UTF8", *_locale(binaries.major), "--no-instructions"]
        outcome = run([*command, *options], account, timeout_s=_INITDB_TIMEOUT_S)
        if not outcome.succeeded:
            raise explain(outcome.output, cluster.parent)
        making.rename(cluster)
        _sync_folder(cluster.parent)
    except subprocess.TimeoutExpired as error:
        raise explain(f"initdb took more than {_INITDB_TIMEOUT_S:.0f} s", cluster.parent) from error
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _locale(major: int) -> list[str]:
    """The same on every host: code points order, Unicode's letters know their case."""
    if major >= _BUILTIN_LOCALE_SINCE:
        return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    return ["--locale=C.UTF-8"]


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _make_missing(root: Path, account: Account) -> None:
    # The server's account passes through the folders that root makes for it; an ordinary user's are private.
    mode = 0o711 if account.is_dropped_to else 0o700
    for folder in reversed([path for path in (root, *root.parents) if not path.exists()]):
        folder.mkdir(exist_ok=True)
        folder.chmod(mode)


def _check_owner(root: Path) -> None:
    owner = root.stat().st_uid
    if owner != os.geteuid():
        raise FolderRefused(
            f"{root} belongs to uid {owner}, and this program runs as uid {os.geteuid()}: start it as that user, or "
            "choose another DATA_DIR"
        )


def _check_reachable(root: Path, account: Account) -> None:
    if not account.is_dropped_to:
        return
    root.chmod(stat.S_IMODE(root.stat().st_mode) | 0o011)  # ours to open, unlike its parents
    for parent in root.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            raise FolderRefused(
                f"started by root, PostgreSQL runs as uid {account.uid}, which cannot enter {parent}: choose a "
                "DATA_DIR it can reach, for example /var/lib/portico, or set POSTGRES_DSN"
            )


def _make_socket_dir(folder: Path, account: Account) -> None:
    """A folder in /tmp may have been laid there by somebody else, to be asked for our secrets."""
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.lstat().st_uid == os.geteuid():
        account.give(folder)
    if folder.is_symlink() or not account.owns(folder):
        raise FolderRefused(f"{folder} is not ours: remove it, or choose a shorter DATA_DIR")
    folder.chmod(0o700)


def _check_cluster(cluster: Path, account: Account, major: int) -> None:
    if not account.owns(cluster):
        raise FolderRefused(
            f"{cluster} belongs to uid {cluster.stat().st_uid}, and the server would run as uid {account.uid}: start "
            "the program as the user who made it, or choose another DATA_DIR"
        )
    written_by = (cluster / "PG_VERSION").read_text().strip()
    if written_by != str(major):
        raise OtherMajorVersion(
            f"{cluster} was written by PostgreSQL {written_by}, and the binaries are {major}: move the folder aside"
        )


def _refuse_other_majors(home: Home, major: int) -> None:
    """An empty new database beside the old one would look like lost work."""
    others = [path.parent.name for path in home.root.glob("*/PG_VERSION") if path.parent.name.isdigit()]
    if others:
        raise OtherMajorVersion(
            f"{home.root} holds a database of PostgreSQL {', '.join(sorted(others))}, and the binaries are {major}: "
            "dump it with the old version and load it with the new one, or move the folder aside to start empty"
        )
