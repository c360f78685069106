"""A program that Portico is compared with."""

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from bench.edge.site import Site
from bench.programs import find


@dataclass(frozen=True, slots=True)
class Ports:
    """Where a peer listens: in the clear, and with TLS."""

    plain: int
    tls: int


@dataclass(frozen=True, slots=True)
class Peer:
    """`command` writes the configuration into the site's folder and says what to run; `does` is what each request gets;
    `program` is taken where the peer is not a program of its own name.
    """

    name: str
    does: str
    command: Callable[[str, Site, Ports], list[str]]
    program: str = ""

    @property
    def binary(self) -> str | None:
        return self.program or find(self.name)

    def version(self) -> str:
        """Ask the program; "?" where it does not say, nothing where it is only the interpreter of the peer."""
        if self.program:
            return ""
        for option in ("-v", "--version", "version"):
            asked = subprocess.run([self.binary or "", option], capture_output=True, text=True, timeout=10, check=False)
            found = re.search(r"\d+\.\d+\.\d+", asked.stdout + asked.stderr)
            if found:
                return found[0]
        return "?"
