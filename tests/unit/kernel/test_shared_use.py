import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.kernel.shared_use import LockBusy, SharedUse, has_owner, is_used, one_at_a_time, take, wait_until_unused

_HOLDER = """
import sys
from pathlib import Path
from app.kernel.shared_use import SharedUse, take
lock = Path(sys.argv[2])
kept = take(lock, timeout_s=5) if sys.argv[1] == "alone" else SharedUse(lock)
if sys.argv[1] == "share": kept.hold()
print("held", flush=True)
sys.stdin.readline()
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    return tmp_path / "made on first use" / "users.lock"


@contextmanager
def another_process_holds(lock: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _HOLDER, how, str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        try:
            yield holder
        finally:
            holder.kill()


def test_nobody_uses_a_new_lock(lock: Path) -> None:
    assert not is_used(lock)
    assert not has_owner(lock)
    assert not lock.parent.exists()


def test_a_share_is_use_without_an_owner_until_it_is_released(lock: Path) -> None:
    share = SharedUse(lock)

    share.hold()
    share.hold()
    seen = (share.is_held, is_used(lock), has_owner(lock))
    share.release()
    share.release()

    assert seen == (True, True, False)
    assert (share.is_held, is_used(lock)) == (False, False)


def test_a_share_ends_with_its_process_however_that_comes(lock: Path) -> None:
    with another_process_holds(lock, "share") as holder:
        used_before = is_used(lock)
        holder.kill()
        holder.wait()

        fd = wait_until_unused(lock)

    os.close(fd)
    assert used_before


def test_shares_do_not_exclude_each_other(lock: Path) -> None:
    share = SharedUse(lock)
    with another_process_holds(lock, "share"):
        share.hold(timeout_s=0)

        assert share.is_held
    share.release()


def test_a_share_is_not_given_while_the_lock_has_an_owner(lock: Path) -> None:
    share = SharedUse(lock)
    with another_process_holds(lock, "alone"):
        owned = has_owner(lock)

        with pytest.raises(LockBusy, match=r"another process holds .*users\.lock"):
            share.hold(timeout_s=0.05)

    assert owned
    assert not share.is_held


def test_waiting_for_disuse_ends_when_the_last_share_is_released(lock: Path) -> None:
    first, last = SharedUse(lock), SharedUse(lock)
    first.hold()
    last.hold()
    taken: list[int] = []
    waiter = threading.Thread(target=lambda: taken.append(wait_until_unused(lock)))
    waiter.start()

    first.release()
    was_taken_early = bool(taken)
    last.release()
    waiter.join(10)

    assert not was_taken_early
    assert has_owner(lock)
    os.close(taken[0])


def test_a_taken_lock_lives_on_in_a_child_that_inherited_it(lock: Path) -> None:
    fd = take(lock, timeout_s=0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(fd,)) as child:
        os.close(fd)

        owned_by_child = has_owner(lock)
        child.kill()

    assert owned_by_child
    assert not has_owner(lock)


def test_held_locks_do_not_reach_a_child_by_themselves(lock: Path) -> None:
    share = SharedUse(lock)
    share.hold()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False) as child:
        share.release()

        fd = take(lock, timeout_s=10)  # the child lets go at its exec, perhaps a moment after it is reported started
        was_alive = child.poll() is None
        child.kill()

    os.close(fd)
    assert was_alive


def test_one_at_a_time_keeps_others_out_and_lets_go_after_an_error(lock: Path) -> None:
    def fail_inside() -> None:
        with one_at_a_time(lock):
            assert has_owner(lock)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_inside()

    os.close(take(lock, timeout_s=0))
