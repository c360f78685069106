"""`examples/systemd`: units that systemd takes, for a command that `portico` takes."""

import shlex
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

import pytest

from app.surfaces.cli.main import build_parser
from app.surfaces.cli.supervisor import LAST_WORDS_S
from app.surfaces.cli.worker_plan import DRAIN_S

UNITS = Path(__file__).parents[2] / "examples" / "systemd"


def unit(name: str) -> ConfigParser:
    parser = ConfigParser(interpolation=None)
    parser.read_string((UNITS / name).read_text("utf-8"))
    return parser


def test_the_command_of_the_unit_is_one_that_the_program_takes() -> None:
    _, *arguments = shlex.split(unit("portico.service")["Service"]["ExecStart"])

    chosen = build_parser().parse_args(arguments)

    assert (chosen.workers, chosen.drain_delay) == (2, 0)


def test_systemd_waits_until_the_last_request_has_had_its_time() -> None:
    service = unit("portico.service")["Service"]

    assert float(service["TimeoutStopSec"]) > float(unit_drain_delay(service["ExecStart"])) + DRAIN_S + LAST_WORDS_S
    assert service["KillMode"] == "mixed"


def unit_drain_delay(command: str) -> str:
    words = shlex.split(command)
    return words[words.index("--drain-delay") + 1]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    text = (UNITS / "portico.service").read_text("utf-8").replace("/opt/portico/bin/portico", sys.executable)
    (tmp_path / "portico.service").write_text(text)
    shutil.copy(UNITS / "portico.socket", tmp_path)

    checked = subprocess.run(
        ["systemd-analyze", "verify", str(tmp_path / "portico.service"), str(tmp_path / "portico.socket")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")
