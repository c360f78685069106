import base64
import threading
from pathlib import Path

import pytest

from app.infra.db.sealing import KEY_FILE, AesSeal, keys_of_folder
from app.kernel.sealing import SealBroken, read_keys

OLD, NEW = b"o" * 32, b"n" * 32


def test_what_is_sealed_opens_under_its_name_and_does_not_show() -> None:
    seal = AesSeal(lambda: [NEW])

    sealed = seal.close(b"whsec_x", what="task 1")

    assert seal.open(sealed, what="task 1") == b"whsec_x"
    assert b"whsec" not in sealed
    assert seal.close(b"whsec_x", what="task 1") != sealed


def test_it_does_not_open_under_another_name() -> None:
    seal = AesSeal(lambda: [NEW])

    with pytest.raises(SealBroken):
        seal.open(seal.close(b"x", what="task 1"), what="task 2")


@pytest.mark.parametrize("at", [0, 1, 9, 21, -1])
def test_one_changed_bit_is_noticed(at: int) -> None:
    seal = AesSeal(lambda: [NEW])
    changed = bytearray(seal.close(b"a secret", what="task 1"))
    changed[at] ^= 1

    with pytest.raises(SealBroken):
        seal.open(bytes(changed), what="task 1")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01" + b"x" * 8, b"\x01" + b"x" * 40])
def test_what_was_never_sealed_does_not_open(sealed: bytes) -> None:
    with pytest.raises(SealBroken):
        AesSeal(lambda: [NEW]).open(sealed, what="task 1")


def test_an_older_key_opens_and_the_first_one_seals() -> None:
    sealed = AesSeal(lambda: [OLD]).close(b"x", what="a")
    both = AesSeal(lambda: [NEW, OLD])

    assert both.open(sealed, what="a") == b"x"
    assert AesSeal(lambda: [NEW]).open(both.close(b"y", what="a"), what="a") == b"y"
    with pytest.raises(SealBroken) as broken:
        AesSeal(lambda: [NEW]).open(sealed, what="a")
    assert "SECRETS_KEY" in str(broken.value.evidence["mend"])
    assert "SECRETS_KEY" not in broken.value.detail


@pytest.mark.parametrize("written", ["x", base64.b64encode(b"short").decode(), "!" * 44])
def test_what_is_no_key_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        read_keys(written)


def test_keys_stand_with_commas_between() -> None:
    text = ", ".join(base64.b64encode(key).decode() for key in (NEW, OLD))

    assert read_keys(text) == (NEW, OLD)


def test_a_folder_has_one_key_whoever_makes_it(tmp_path: Path) -> None:
    found: list[tuple[bytes, ...]] = []
    threads = [threading.Thread(target=lambda: found.append(keys_of_folder(tmp_path / "data"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(found) == 8
    assert len(set(found)) == 1
    assert [file.name for file in (tmp_path / "data").iterdir()] == [KEY_FILE]
    assert (tmp_path / "data" / KEY_FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("written", ["nothing of the kind", ""])
def test_a_key_that_cannot_be_read_is_a_fault_and_is_tried_again(tmp_path: Path, written: str) -> None:
    (tmp_path / KEY_FILE).write_text(written)
    seal = AesSeal(lambda: keys_of_folder(tmp_path))
    with pytest.raises(SealBroken):
        seal.close(b"x", what="a")

    (tmp_path / KEY_FILE).write_text(base64.b64encode(NEW).decode())

    assert AesSeal(lambda: [NEW]).open(seal.close(b"x", what="a"), what="a") == b"x"
