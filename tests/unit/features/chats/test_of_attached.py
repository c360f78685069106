"""Which files of a conversation a model is shown, and what a message may be given."""

from collections.abc import Sequence
from datetime import UTC, datetime

from app.features.attachments.domain.attachment import MIB, Attachment
from app.features.chats.domain.attached import (
    Attached,
    count_problems,
    file_problems,
    read_attached,
    to_show,
    write_attached,
)
from app.kernel.ids import AttachmentId, UserId, new_run_id


def a_file(size_mib: float = 1, name: str = "a.png") -> Attached:
    return Attached(AttachmentId(new_run_id()), name, "image/png", int(size_mib * MIB))


def kept(file: Attached) -> Attachment:
    return Attachment(file.id, UserId("ann"), file.name, file.media_type, file.size_bytes, b"", datetime.now(UTC))


def shown(of_question: Sequence[Attached], *before: Sequence[Attached]) -> list[AttachmentId]:
    return to_show(of_question, before)


def test_a_questions_own_files_are_shown_whatever_they_have() -> None:
    files = [a_file(10), a_file(6)]

    assert shown(files, [a_file(0.1)]) == [file.id for file in files]


def test_those_before_it_are_shown_the_newest_first_until_one_has_no_room() -> None:
    own, newest, older, large, oldest = a_file(1), a_file(3), a_file(3), a_file(2), a_file(0.5)

    assert shown([own], [oldest], [large], [], [older], [newest]) == [own.id, newest.id, older.id]
    assert shown([own], [oldest], [older, newest]) == [own.id, older.id, newest.id, oldest.id]
    assert shown([], [large], []) == [large.id]
    assert shown([], [], []) == []


def test_a_file_that_was_given_twice_takes_its_room_once() -> None:
    own, before = a_file(5), a_file(2)

    assert shown([own], [before], [own, before]) == [own.id, before.id]


def test_what_a_message_was_given_is_read_as_it_was_written() -> None:
    files = (a_file(name="Käse.png"), a_file())

    assert read_attached(write_attached(files)) == files
    assert write_attached(()) is None
    assert read_attached(None) == ()


def test_a_question_has_a_few_files_each_once() -> None:
    ids = [a_file().id for _ in range(11)]

    assert count_problems([]) == count_problems(ids[:10]) == []
    assert [problem.message for problem in count_problems(ids)] == ["must be at most 10"]
    assert [problem.message for problem in count_problems([ids[0], ids[1], ids[0]])] == ["names a file twice"]


def test_files_are_found_and_not_too_large_together() -> None:
    fits, large = a_file(6), a_file(10.5)
    found = {file.id: kept(file) for file in (fits, large)}

    assert file_problems([fits.id], {fits.id: kept(fits)}) == []
    (too_much,) = file_problems([fits.id, large.id], found)
    assert (too_much.field, too_much.message) == ("attachments", "must have at most 16 MB together")
    missing = file_problems([fits.id, a_file().id, large.id, a_file().id], found)
    assert [problem.field for problem in missing] == ["attachments[1]", "attachments[3]"]
