"""The runs there are where the edge is tested alone, and the key that a worker would sign their tokens with."""

from app.infra.durable.key_ring import public_key_of
from app.kernel.ids import RunId, new_run_id
from tests.builders import worker_key
from tests.fakes.live_tokens import FakeLiveTokens

LIVE = FakeLiveTokens(keys={key.id: key for key in [public_key_of(worker_key())]})
"""shared by every front door of these tests, as a database is"""


def begin_run(*, epoch: int = 1) -> RunId:
    run_id = new_run_id()
    LIVE.epochs[run_id] = epoch
    return run_id


def end_run(run_id: RunId) -> None:
    del LIVE.epochs[run_id]
