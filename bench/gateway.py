"""`portico serve` as a subprocess, on a folder that is thrown away, with a route table of the benchmark's own."""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from ssl import SSLContext

from bench.issuer import Issuer
from bench.programs import free_port, running, wait_until_answers, wait_until_quiet

START_TIMEOUT_S = 120
REMOVE_TIMEOUT_S = 10
LOCAL_ROWS = """
[[routes]]
prefix = "/api/health"
local = true
access = "PUBLIC"

[[routes]]
prefix = "/api/v1"
local = true
"""
QUIET = {"LOG_LEVEL": "40"}


@dataclass(frozen=True, slots=True)
class Gateway:
    """A gateway that serves; its log may be emptied, it is only ever appended to."""

    url: str
    port: int
    pid: int
    log: Path


@contextmanager
def running_gateway(
    issuer: Issuer,
    *,
    rows: str = LOCAL_ROWS,
    options: Sequence[str] = (),
    environ: Mapping[str, str] = QUIET,
    tls: SSLContext | None = None,
) -> Iterator[Gateway]:
    """Run the gateway alone, with the embedded database, no fleet and no message hook, until the block ends.

    `options` are more of `portico serve`'s own; with a certificate among them, `tls` is how to trust it.
    Errors: DidNotStart.
    """
    folder = Path(tempfile.mkdtemp(prefix="portico-bench-"))
    folder.chmod(0o711)  # the database runs as another account when we are root
    config, port = folder / "gateway.toml", free_port()
    config.write_text(rows, "utf-8")
    command = [sys.executable, "-m", "app", "serve", "--port", str(port), "--config", str(config)]
    command += ["--drain-delay", "0", *options]
    try:
        with running("portico", command, folder / "portico.log", {**_environ(folder, issuer), **environ}) as program:
            url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
            wait_until_answers(program, f"{url}/api/health/ready", timeout_s=START_TIMEOUT_S, tls=tls)
            wait_until_quiet(program.pid)  # its run worker warms up for seconds, which are nobody's request
            yield Gateway(url, port, program.pid, program.log)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove what the gateway leaves; its database ends a moment after it, and writes until then."""
    end = time.monotonic() + REMOVE_TIMEOUT_S
    while folder.exists() and time.monotonic() < end:
        shutil.rmtree(folder, ignore_errors=True)
        time.sleep(0.05)


def _environ(folder: Path, issuer: Issuer) -> dict[str, str]:
    return os.environ | {
        "DATA_DIR": str(folder),
        "DEFAULT_MODEL": "scripted",
        "JWT_PUBLIC_KEY": issuer.public_pem,
        "JWT_JWKS_URL": "",
        "SNAPSHOT_SERVICE_URL": "",
        "POSTGRES_DSN": "",
    }
