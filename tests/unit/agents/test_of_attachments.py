"""Files in a turn: what a model is shown of them, what it is spared, and what is kept of the turn."""

import base64
import json
from dataclasses import replace
from uuid import uuid4

import pytest
from pydantic_ai.exceptions import ModelHTTPError
from pydantic_ai.profiles import ModelProfile

from app.agents.contract import AgentFailed, Attachment, PastMessage, ToolContext, Turn, TurnTooLong
from app.agents.llm.scripted import Call, ScriptedModel
from app.agents.llm.window import TEXT_SHOWN_CHARS
from app.agents.messages import AttachmentNotTaken
from tests.fakes.journal import FakeJournal
from tests.files import PDF, PNG, TEXT
from tests.unit.agents.desk import a_desk, a_turn, an_agent

LIST = Attachment("t", "list.txt", "text/plain", TEXT)
PICTURE = Attachment("i", "a.png", "image/png", PNG)
PAPER = Attachment("p", "b.pdf", "application/pdf", PDF)
SHOWN = f"[attached: list.txt, text/plain]\n{TEXT.decode()}\n[end of list.txt]"


class BlindModel(ScriptedModel):
    """One that is known to take no files but text."""

    @property
    def profile(self) -> ModelProfile:
        return {**super().profile, "supports_image_input": False, "supports_document_input": False}


def with_files(*files: Attachment, text: str = "What is it?", history: tuple[PastMessage, ...] = ()) -> Turn:
    return replace(a_turn(text, history=history), attachments=files)


def before(*files: Attachment, text: str = "Look.") -> tuple[PastMessage, PastMessage]:
    return PastMessage("user", text, files), PastMessage("assistant", "Seen.")


async def seen_by(model: ScriptedModel, turn: Turn) -> tuple[str, ...]:
    async with a_desk(an_agent(), model=model) as desk:
        await desk.answer("helper", turn, journal=FakeJournal(), timeout_s=10)
    return model.seen[-1].said_by_user


async def test_files_stand_under_their_names_before_the_words() -> None:
    (said,) = await seen_by(ScriptedModel("Fine."), with_files(LIST, PICTURE, PAPER, replace(PAPER, content=None)))

    image, paper = f"<image/png, {len(PNG)} bytes>", f"<application/pdf, {len(PDF)} bytes>"
    parts = [SHOWN, "[attached: a.png]", image, "[attached: b.pdf]", paper, "[attached: b.pdf]", "What is it?"]
    assert said == "\n\n".join(parts)


async def test_a_text_is_shown_up_to_a_bound() -> None:
    long = replace(LIST, content=b"word " * (TEXT_SHOWN_CHARS // 5 + 4))

    (said,) = await seen_by(ScriptedModel("Fine.", window_tokens=200_000), with_files(long))

    assert "[20 more characters are not shown]\n[end of list.txt]" in said
    assert len(said) < TEXT_SHOWN_CHARS + 200


async def test_what_does_not_fit_at_all_is_told_to_be_attached_less() -> None:
    long = replace(LIST, content=b"word " * 10_000)

    with pytest.raises(TurnTooLong, match="attach less"):
        await seen_by(ScriptedModel("Fine."), with_files(long))


async def test_files_of_before_are_shown_again_while_there_is_room_the_newest_first() -> None:
    """The window has 8,192 tokens, of which a quarter is for the answer, and files may take half of the rest."""
    history = (*before(PICTURE), *before(LIST), *before(replace(PICTURE, id="j")))

    first, second, third, last = await seen_by(ScriptedModel("Fine."), with_files(history=history))

    assert first == "[attached: a.png]\n\nLook."
    assert second == f"{SHOWN}\n\nLook."
    assert third == f"[attached: a.png]\n\n<image/png, {len(PNG)} bytes>\n\nLook."
    assert last == "What is it?"


async def test_a_model_that_takes_no_such_files_is_not_asked() -> None:
    model = BlindModel("Fine.", "Fine.")

    for file in (PICTURE, PAPER):
        with pytest.raises(AttachmentNotTaken, match=rf"{file.name} \({file.media_type}\)"):
            await seen_by(model, with_files(LIST, file))
    assert not model.seen

    said = await seen_by(model, with_files(LIST, history=before(PICTURE)))
    assert said == ("[attached: a.png]\n\nLook.", f"{SHOWN}\n\nWhat is it?")


async def test_what_only_the_adapter_or_the_provider_knows_is_a_failure_that_says_so() -> None:
    with pytest.raises(AttachmentNotTaken, match=r"a\.png"):
        await seen_by(ScriptedModel(NotImplementedError("no images")), with_files(PICTURE))
    with pytest.raises(AgentFailed, match="Maybe it takes no such files"):
        await seen_by(ScriptedModel(ModelHTTPError(400, "m", None)), with_files(PICTURE))
    with pytest.raises(AgentFailed, match=r"refused the request\.$"):
        await seen_by(ScriptedModel(ModelHTTPError(400, "m", None)), with_files(LIST))


async def test_no_byte_of_a_file_is_kept_and_a_turn_goes_on_without_asking_again() -> None:
    secret = replace(PICTURE, content=PNG + uuid4().bytes * 3)
    words = replace(LIST, content=b"words of a file")
    model, journal = ScriptedModel(Call("nothing", {}), "It is small."), FakeJournal()

    async def nothing(ctx: ToolContext) -> str:
        """Do nothing."""
        return "done"

    async with a_desk(an_agent(tools=[nothing]), model=model) as desk:
        said = await desk.answer("helper", with_files(secret, words), journal=journal, timeout_s=10)
        turn = with_files(secret, words)
        again = await desk.answer("helper", turn, journal=journal.resumed(), timeout_s=10)

    kept = json.dumps([said.messages, journal.kept, [event.data for event in journal.told]], default=repr)
    assert base64.b64encode(secret.content or b"").decode()[:40] not in kept
    assert "words of a file" not in kept
    assert "[attached: a.png]\\n[attached: list.txt]\\nWhat is it?" in kept
    assert (again.text, len(model.seen)) == (said.text, 2)
