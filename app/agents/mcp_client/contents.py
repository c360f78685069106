"""What a tool of a server answered, as a tool of ours gives it back: JSON where the server has some, else text.

Pictures and sounds go into no conversation: a note says what was there.
"""

from mcp_types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
)

from app.kernel.values import Json

_NOTE_LIMIT_CHARS = 300
_WRAPPED = "result"
"""the key under which servers put a value that is no object, since structured content has to be one"""


def result_of(result: CallToolResult) -> Json:
    """Give the structured content, with notes of what it cannot hold; without any, the texts."""
    structured: Json = result.structured_content
    if structured is None or result.is_error:
        return "\n\n".join(text for block in result.content if (text := _text(block)))
    if isinstance(structured, dict) and set(structured) == {_WRAPPED}:
        structured = structured[_WRAPPED]
    notes = [_text(block) for block in result.content if not isinstance(block, TextContent)]
    return {"result": structured, "notes": notes} if notes else structured


def _text(block: ContentBlock) -> str:
    match block:
        case TextContent():
            return block.text
        case ImageContent():
            return _note("image", block.mime_type, block.data)
        case AudioContent():
            return _note("sound", block.mime_type, block.data)
        case ResourceLink():
            return f"[resource {block.name}: {block.uri}]"[:_NOTE_LIMIT_CHARS]
        case EmbeddedResource(resource=resource):
            if isinstance(resource, TextResourceContents):
                return resource.text
            return _note("file", resource.mime_type or "of no known type", resource.blob)


def _note(what: str, kind: str, base64: str) -> str:
    size_bytes = len(base64) * 3 // 4
    return f"[{what} {kind[:_NOTE_LIMIT_CHARS]}, {size_bytes} bytes, not shown]"
