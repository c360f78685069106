"""Everything a run needs, started when it is first asked for and ended with the run."""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from bench.edge.peers import caddy, envoy, haproxy, httpx_proxy, nginx
from bench.edge.peers.peer import Ports
from bench.edge.portico import TWO_WORKERS, knows_workers, serving
from bench.edge.site import SMALL, STREAMS, Site, write_certificate
from bench.edge.table import OURS
from bench.edge.target import Target
from bench.gateway import Gateway
from bench.issuer import Issuer
from bench.programs import Program, free_port, require, running, wait_until_answers

PEERS = {one.name: one for one in (nginx.PEER, envoy.PEER, haproxy.PEER, caddy.PEER, httpx_proxy.PEER)}
TWO = f"{OURS} x2"
STATIC_ORIGIN = "static origin"
STREAMING_ORIGIN = "streaming origin"


def say(text: str) -> None:
    """Report progress, beside the results."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Stand:
    """`origins` are the two programs behind every proxy; what else runs was asked for."""

    site: Site
    token: str
    origins: tuple[Program, Program]
    _stack: ExitStack
    _targets: dict[tuple[str, bool], Target | None] = field(default_factory=dict)
    _logs: list[Path] = field(default_factory=list)

    def targets(self, names: Sequence[str], *, is_tls: bool = False) -> list[Target]:
        """Start what does not run yet; what is not installed is left out, and said once.

        Errors: DidNotStart.
        """
        found = [self._target(name, is_tls=is_tls) for name in names]
        return [one for one in found if one is not None]

    def tokens(self, count: int) -> Path:
        """Write `count` tokens of as many users, once. Cost: half a millisecond each."""
        file = self.site.folder / f"{count}.tokens"
        if not file.exists():
            say(f"signing {count:,} tokens")
            file.write_text("".join(f"{self.site.issuer.token(str(sub))}\n" for sub in range(count)), "utf-8")
        return file

    def empty_logs(self) -> None:
        """Keep access logs from filling the disk; they are opened for appending, so that this is safe."""
        for log in self._logs:
            os.truncate(log, 0)

    def _target(self, name: str, *, is_tls: bool) -> Target | None:
        if (name, is_tls) not in self._targets:
            self._start(name, is_tls=is_tls)
        return self._targets[name, is_tls]

    def _start(self, name: str, *, is_tls: bool) -> None:
        if name in PEERS:
            self._start_peer(name)
        elif name in {STATIC_ORIGIN, STREAMING_ORIGIN}:
            origin, port = self._origin(name)
            self._targets[name, is_tls] = Target(name, port, origin.pid, self.token)
        elif name == TWO and not knows_workers():
            say("portico serve has no --workers: left out")
            self._targets[name, is_tls] = None
        else:
            self._start_portico(name, is_tls=is_tls)

    def _origin(self, name: str) -> tuple[Program, int]:
        static, streaming = self.origins
        return (static, self.site.static_port) if name == STATIC_ORIGIN else (streaming, self.site.streams_port)

    def _start_portico(self, name: str, *, is_tls: bool) -> None:
        say(f"starting {name}{' with TLS' if is_tls else ''}")
        options = TWO_WORKERS if name == TWO else ()
        gateway: Gateway = self._stack.enter_context(serving(self.site, options, is_tls=is_tls))
        self._logs.append(gateway.log)
        self._targets[name, is_tls] = Target(name, gateway.port, gateway.pid, self.token, is_tls)

    def _start_peer(self, name: str) -> None:
        peer, ports = PEERS[name], Ports(free_port(), free_port())
        if peer.binary is None:
            say(f"{name} is not on PATH and not named by {name.upper()}_BIN: left out")
            self._targets |= {(name, False): None, (name, True): None}
            return
        say(f"starting {name} {peer.version()} ({peer.does})")
        command = peer.command(peer.binary, self.site, ports)
        program = self._stack.enter_context(running(name, command, self.site.folder / f"{name}.log"))
        wait_until_answers(program, f"http://127.0.0.1:{ports.plain}{SMALL}", token=self.token)
        plain = Target(name, ports.plain, program.pid, self.token)
        self._targets |= {(name, False): plain, (name, True): Target(name, ports.tls, program.pid, self.token, True)}


@contextmanager
def standing(gigabyte_bytes: int) -> Iterator[Stand]:
    """Start the origins, in a folder that is thrown away. Errors: ProgramMissing, DidNotStart."""
    require("wrk", package="wrk")
    binary = require("nginx", package="nginx-light")
    folder = Path(tempfile.mkdtemp(prefix="portico-bench-edge-"))
    folder.chmod(0o711)  # nginx's workers run as another account when we are root
    try:
        with ExitStack() as stack:
            site = Site(folder, free_port(), free_port(), Issuer.generate(), *write_certificate(folder))
            nginx.write_site(folder, gigabyte_bytes)
            origins = _start_origins(stack, site, binary)
            yield Stand(site, site.issuer.token(), origins, stack)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _start_origins(stack: ExitStack, site: Site, binary: str) -> tuple[Program, Program]:
    static = nginx.origin_command(binary, site.folder, site.static_port)
    streaming = [sys.executable, "-m", "bench.edge.streaming_origin", str(site.streams_port)]
    first = stack.enter_context(running(STATIC_ORIGIN, static, site.folder / "static.log"))
    second = stack.enter_context(running(STREAMING_ORIGIN, streaming, site.folder / "streaming.log"))
    wait_until_answers(first, f"http://127.0.0.1:{site.static_port}{SMALL}")
    wait_until_answers(second, f"http://127.0.0.1:{site.streams_port}{STREAMS}")
    return first, second
