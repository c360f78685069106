from app.features.chats.domain.turn import Wish
from tests.fakes.chat_slice import ANN, Slice


async def test_what_the_model_said_is_kept_with_the_run() -> None:
    desk = Slice()
    chat = await desk.a_chat(agent="support")

    async with desk.working():
        begun = await desk.exchange(ANN, chat.id, Wish("hello"))
        await desk.ended(begun.run_id)

    assert desk.kept.find(begun.run_id).result == {
        "question_id": begun.question.id,
        "model": "scripted",
        "messages": [{"said": "hello"}],
    }
