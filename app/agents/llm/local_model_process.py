"""The child: llama.cpp's own OpenAI-compatible server for one model file, on loopback, behind a key.

It is started by `local_model.py`, belongs to no program in particular, and ends when the last of its users has.
"""

import http.client
import json
import os
import resource
import secrets
import sys
import time
from pathlib import Path
from typing import Any

from app.agents.llm.local_model_home import Announcement, ModelHome
from app.kernel.shared_use import LockBusy, take, wait_until_unused

MODEL_NAME = "local"
SLOTS = 2
SLOT_TOKENS = 4096
_THREADS_LIMIT = 4
# Each running or waiting request has one of these threads; one must be left to answer /health.
_HTTP_THREADS = 32
# Prompts of conversations that lost their slot, kept so that their next turn need not read all of the history again.
_PROMPT_CACHE_MIB = 64
_CLIENT_TIMEOUT_S = 60
_LOG_LIMIT_BYTES = 1_000_000
# Users probe the lock for a moment each; a child that owns it never lets go.
_OWNER_TIMEOUT_S = 0.3


def main(folder: str, gguf: str) -> None:
    """Serve until nobody holds a share of the folder; return at once when another child is there already.

    While the model is loaded the library keeps the interpreter to itself: a child that lost its users by then ends
    after the load.
    """
    home = ModelHome(Path(folder))
    try:
        take(home.server_lock, timeout_s=_OWNER_TIMEOUT_S)
    except LockBusy:
        return
    home.withdraw()
    _bound_log(home.log)
    server = _serve(gguf, api_key := secrets.token_urlsafe(32))
    home.announce(_announcement(server.listening_address, api_key))
    wait_until_unused(home.users_lock)
    home.withdraw()
    os._exit(0)  # the library's threads have nothing to put away, and must not keep us


def _bound_log(log: Path) -> None:
    """Start the log anew, and let the kernel refuse what goes beyond its limit (Python ignores SIGXFSZ)."""
    os.truncate(log, 0)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LOG_LIMIT_BYTES, hard))


def _serve(gguf: str, api_key: str) -> Any:  # Any: the library has no types
    """Load the model and listen. Cost: a second and 350 MB for the small model, all of it before we return."""
    import xllamacpp  # noqa: PLC0415 - 100 MB, and only the child that owns the lock needs it

    params = xllamacpp.CommonParams()
    params.model.path = gguf
    params.model_alias = {MODEL_NAME}
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.n_parallel = SLOTS
    params.n_ctx = SLOTS * SLOT_TOKENS  # the library divides it among the slots
    params.cache_ram_mib = _PROMPT_CACHE_MIB
    params.cpuparams_batch.n_threads = min(_cores(), _THREADS_LIMIT)  # to read prompts
    # To write answers: the threads wait for each other at every layer, so one that has to share its core with the
    # front door holds up all of them (two busy cores: 28 tokens/s with one thread, 3 to 27 with two).
    params.cpuparams.n_threads = max(1, min(_cores() - 1, _THREADS_LIMIT))
    params.n_threads_http = _HTTP_THREADS
    params.timeout_read = params.timeout_write = _CLIENT_TIMEOUT_S
    params.use_jinja = True  # the model's own chat template
    params.ui = False
    params.endpoint_slots = False
    params.warmup = False
    params.verbosity = 1  # errors
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        sys.exit(f"llama.cpp cannot serve {gguf}: {error}")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _announcement(address: str, api_key: str) -> Announcement:
    """Ask the server for its context per slot: a model may have been trained for less than we asked for."""
    port = int(address.rpartition(":")[2])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/v1/models", headers={"authorization": f"Bearer {api_key}"})
    models = json.loads(connection.getresponse().read())
    connection.close()
    context_tokens = int(models["data"][0]["meta"]["n_ctx"])
    return Announcement(port, api_key, os.getpid(), time.time(), context_tokens)


if __name__ == "__main__":
    main(*sys.argv[1:])
