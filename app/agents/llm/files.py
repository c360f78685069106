"""How a model is shown what was attached to a message: text as text, images and PDF files as they are.

Facts
- Files stand before the words, each under its name; what is a file's is put into a frame that says so.
- How many tokens a provider makes of an image or a page is its own affair: most give an image at most some 1,600, a
  page of PDF up to 3,000 with its picture.
- What a model cannot take of the question is refused before it is asked; of what was said before it is only named.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pydantic_ai.messages import BinaryContent, ModelMessage, ModelRequest, UserContent, UserPromptPart
from pydantic_ai.profiles import ModelProfile

from app.agents.llm.window import estimate_file, text_of
from app.agents.messages import Attachment, AttachmentNotTaken, PastMessage, named, with_names

FILES_SHARE = 2
"""of the room for what was said before, what its files may take: a half"""
PDF = "application/pdf"


def shown(text: str, attachments: Sequence[Attachment]) -> str | Sequence[UserContent]:
    """Give what stands in a prompt for a message: a text, as long as nothing else is in it."""
    parts: list[UserContent] = []
    for one in attachments:
        if one.content is None:
            parts.append(named(one))
        elif one.is_text:
            parts.append(f"[attached: {one.name}, {one.media_type}]\n{text_of(one)}\n[end of {one.name}]")
        else:
            content = BinaryContent(data=one.content, media_type=one.media_type, identifier=one.id)
            parts.extend((named(one), content))
    parts.append(text)
    texts = [part for part in parts if isinstance(part, str)]
    return "\n\n".join(texts) if len(texts) == len(parts) else parts


def refuse_untakeable(attachments: Iterable[Attachment], profile: ModelProfile) -> None:
    """Errors: AttachmentNotTaken."""
    for one in attachments:
        if not takes(one, profile):
            raise not_taken([one])


def not_taken(attachments: Iterable[Attachment]) -> AttachmentNotTaken:
    names = ", ".join(f"{one.name} ({one.media_type})" for one in attachments)
    return AttachmentNotTaken(f"The language model does not take {names}: ask without it, or another model.")


def takes(one: Attachment, profile: ModelProfile) -> bool:
    if one.content is None or one.is_text:
        return True
    if one.media_type != PDF:
        return profile.get("supports_image_input", True)
    documents = profile.get("supported_document_media_types")
    return profile.get("supports_document_input", True) and (documents is None or PDF in documents)


def fitting_files(history: Sequence[PastMessage], profile: ModelProfile, *, limit_tokens: int) -> Sequence[PastMessage]:
    """Name, in place of showing it, what the model cannot take, and all that is older than the first without room."""
    fitting: list[PastMessage] = []
    for message in reversed(history):
        kept = []
        for one in message.attachments:
            given = one if takes(one, profile) else replace(one, content=None)
            limit_tokens -= estimate_file(given)
            kept.append(given if limit_tokens >= 0 else replace(one, content=None))
        fitting.append(replace(message, attachments=tuple(kept)) if kept else message)
    return fitting[::-1]


def without_files(messages: Iterable[ModelMessage], text: str, attachments: Sequence[Attachment]) -> list[ModelMessage]:
    """Put back the words, and names in place of files, where the question stands: what is kept holds no file."""
    words = with_names(text, attachments)
    return [_worded(message, words) if attachments else message for message in messages]


def _worded(message: ModelMessage, words: str) -> ModelMessage:
    if not isinstance(message, ModelRequest):
        return message
    parts = [replace(part, content=words) if isinstance(part, UserPromptPart) else part for part in message.parts]
    return replace(message, parts=parts)
