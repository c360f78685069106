"""Requests that schemathesis makes up out of `/openapi.json`, right ones and wrong ones, held against what it says.

A process of its own: as a plugin it would cost every other run of the tests a second.
"""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

CONFIG = Path(__file__).with_name("schemathesis.toml")
ALL_PHASES = ("coverage", "fuzzing", "stateful")


def send_generated(
    url: str,
    headers: Mapping[str, str],
    folder: Path,
    *,
    seed: int,
    examples: int,
    phases: tuple[str, ...] = ALL_PHASES,
    within_s: float = 100,
) -> subprocess.CompletedProcess[str]:
    """Send up to `examples` requests to each operation, and more along the links between them; it ends with 0 or tells.

    What goes wrong is told with the request as a `curl` command; the same seed makes the same requests.
    """
    program = str(Path(sys.executable).with_name("st"))
    # in capitals, or it takes the token it was given for something else, and requests without one for ones with
    fields = [f"--header={name.title()}: {value}" for name, value in headers.items()]
    command = (program, "--config-file", str(CONFIG), "run", f"{url}/openapi.json", *fields)
    asked = (f"--seed={seed}", f"--max-examples={examples}", f"--phases={','.join(phases)}")
    return subprocess.run([*command, *asked], cwd=folder, capture_output=True, text=True, timeout=within_s, check=False)
