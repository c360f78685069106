"""The endpoints of attachments: read the request, call the use case, show what it gives.

What is sent is read as a whole, up to the limit of a file and what a form writes around one, and no byte further.
"""

import base64
import binascii
import re
from typing import Annotated, Any
from uuid import UUID

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, delete, get, post
from litestar.di import NamedDependency
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, QueryParameter

from app.features.attachments.domain.attachment import (
    FILE_LIMIT_BYTES,
    AttachmentDigestMismatch,
    AttachmentNotFound,
    AttachmentsFull,
    AttachmentTooLarge,
    Upload,
    read_digest,
)
from app.features.attachments.domain.kinds import KEPT, AttachmentTypeRefused
from app.features.attachments.schemas import AttachmentOut, AttachmentPageOut
from app.features.attachments.use_cases.delete_attachment import DeleteAttachment
from app.features.attachments.use_cases.keep_attachment import KeepAttachment
from app.features.attachments.use_cases.list_attachments import ATTACHMENT_FIELDS, ListAttachments
from app.features.attachments.use_cases.read_attachment import ReadAttachment, ReadContent
from app.infra.db.errors import StorageUnavailable
from app.infra.wire.disposition import for_download, parameters_of
from app.infra.wire.multipart import MultipartBroken, boundary_of, parts_of
from app.kernel.errors import FieldError, Forbidden, Malformed, ValidationFailed
from app.kernel.identity import Principal
from app.kernel.ids import AttachmentId, UserId
from app.kernel.paging import parse_list_query, parse_uuids

# Litestar does not look into aliases made with `type`.
# Any: the user, auth and state of a Litestar request, none of which we use
AnyRequest = Request[Any, Any, Any]
Who = NamedDependency[Principal]
PATH = "/api/v1/attachments"
BODY_LIMIT_BYTES = FILE_LIMIT_BYTES + 64 * 1024
A_TEXT = {"maxLength": 255, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}
OwnerFilter = Annotated[
    str | None,
    QueryParameter(name="user_id", required=False, max_length=255, pattern=A_TEXT["pattern"], schema_extra=A_TEXT),
]
ABOUT_ONE = (AttachmentNotFound, StorageUnavailable)
OF_AN_UPLOAD = (
    AttachmentTooLarge,
    AttachmentTypeRefused,
    AttachmentDigestMismatch,
    AttachmentsFull,
    StorageUnavailable,
)
A_FILE = {"type": "string", "format": "binary"}
A_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {"file": A_FILE, "digest": {"type": "string", "pattern": "^sha256:[0-9a-fA-F]{64}$"}},
}
TAKEN = {
    "required": True,
    "content": {"multipart/form-data": {"schema": A_FORM}, "application/octet-stream": {"schema": A_FILE}},
}
_SHA_256 = re.compile(r"(?:^|,)\s*sha-256\s*=\s*(?P<value>[^,]*)")
# what is shown may be anybody's: nothing of it runs, and nobody guesses at what it is
SAFE = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
    "cache-control": "private, no-cache",
}


class AttachmentController(Controller):
    path = PATH
    tags = ("attachments",)

    @get(
        "/",
        summary="List attachments",
        description=(
            "One's own; for an admin everybody's. Filters: `user_id`, `ids`, `createdBefore`, `createdAfter`, "
            "`updatedBefore`, `updatedAfter`, `searchField` (`name`, `media_type`) with `searchString` and "
            "`searchIgnoreCase`, `orderBy`, `sortOrder`, `currentPage`, `pageSize`."
        ),
        opt={"faults": (Forbidden, StorageUnavailable)},
    )
    @inject
    async def list_attachments(
        self, request: AnyRequest, principal: Who, use_case: FromDishka[ListAttachments], owner: OwnerFilter = None
    ) -> AttachmentPageOut:
        given = request.query_params
        filters = {key: given.getall(key) for key in given}
        query = parse_list_query({key: found for key, found in filters.items() if key != "ids"}, ATTACHMENT_FIELDS)
        named = None if owner is None else UserId(owner)
        return AttachmentPageOut.of(await use_case(principal, query, owner=named, ids=parse_uuids(filters)))

    @post(
        "/",
        summary="Keep a file",
        description=(
            f"Of {KEPT}; at most 10 MB, a text at most 1 MB. As a form with one `file`, and a `digest` if it is to be "
            "checked; or as the body itself, with `Content-Type`, `Content-Disposition` for its name and "
            "`Content-Digest`. The same file sent again is the same attachment."
        ),
        request_max_body_size=BODY_LIMIT_BYTES,
        opt={"faults": OF_AN_UPLOAD, "takes": TAKEN, "body_limit": (BODY_LIMIT_BYTES, AttachmentTooLarge)},
    )
    @inject
    async def keep(
        self, request: AnyRequest, principal: Who, use_case: FromDishka[KeepAttachment]
    ) -> Response[AttachmentOut]:
        kept = await use_case(principal, await _upload(request))
        return Response(AttachmentOut.of(kept), status_code=201, headers={"location": f"{PATH}/{kept.id}"})

    @get("/{attachment_id:str}", summary="Read what is known of an attachment", opt={"faults": ABOUT_ONE})
    @inject
    async def read(
        self, attachment_id: FromPath[UUID], principal: Who, use_case: FromDishka[ReadAttachment]
    ) -> AttachmentOut:
        return AttachmentOut.of(await use_case(principal, AttachmentId(attachment_id)))

    @get(
        "/{attachment_id:str}/content",
        summary="Download an attachment",
        description="`ETag` is its digest: with it in `If-None-Match` nothing is sent again.",
        opt={"faults": ABOUT_ONE},
        responses={
            200: ResponseSpec(bytes, media_type="*/*", generate_examples=False, description="The file"),
            304: ResponseSpec(None, generate_examples=False, description="It is the one the caller has"),
        },
    )
    @inject
    async def download(
        self, request: AnyRequest, attachment_id: FromPath[UUID], principal: Who, use_case: FromDishka[ReadContent]
    ) -> Response[bytes]:
        known = frozenset(tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(","))
        digests = frozenset(tag.strip('"') for tag in known)
        found, content = await use_case(principal, AttachmentId(attachment_id), known=digests)
        headers = {**SAFE, "etag": f'"{found.digest_text}"'}
        if content is None:
            return Response(b"", status_code=304, headers=headers)
        headers["content-disposition"] = for_download(found.name)
        return Response(content, media_type=found.media_type, headers=headers)

    @delete(
        "/{attachment_id:str}",
        summary="Delete an attachment",
        description="Messages it was given with keep its name; models do not see it any more.",
        opt={"faults": ABOUT_ONE},
    )
    @inject
    async def delete_attachment(
        self, attachment_id: FromPath[UUID], principal: Who, use_case: FromDishka[DeleteAttachment]
    ) -> None:
        await use_case(principal, AttachmentId(attachment_id))


async def _upload(request: AnyRequest) -> Upload:
    """Errors: AttachmentTooLarge, Malformed, ValidationFailed."""
    try:
        body = b"".join([piece async for piece in request.stream()])  # `body()` would keep it until the answer is sent
    except RequestEntityTooLarge:
        raise AttachmentTooLarge from None
    declared = _field(request, "content-type")
    if declared.partition(";")[0].strip().lower() == "multipart/form-data":
        return _of_form(body, declared)
    name = parameters_of(_field(request, "content-disposition")).get("filename", "")
    return Upload(body, name, declared, _digest_of(_field(request, "content-digest")))


def _of_form(body: bytes, content_type: str) -> Upload:
    """Errors: Malformed, ValidationFailed."""
    try:
        parts = parts_of(body, boundary_of(content_type))
    except MultipartBroken as broken:
        raise Malformed(f"The form cannot be read. {broken}") from broken
    files = [part for part in parts if part.name == "file"]
    digests = [part for part in parts if part.name == "digest"]
    problems = [
        FieldError(part.name[:100], "is not a known field") for part in parts if part.name not in ("file", "digest")
    ]
    if len(files) != 1:
        problems.append(FieldError("file", "is missing" if not files else "is given more than once"))
    if len(digests) > 1:
        problems.append(FieldError("digest", "is given more than once"))
    if problems:
        raise ValidationFailed("Some fields are not valid.", errors=problems)
    file = files[0]
    digest = read_digest(digests[0].content.decode("latin-1").strip()) if digests else None
    return Upload(file.content, file.file_name or "", file.content_type, digest)


def _digest_of(field: str) -> bytes | None:
    """Read `Content-Digest` (RFC 9530 §2), of which we know SHA-256. Errors: ValidationFailed."""
    found = _SHA_256.search(field)
    if found is None:
        return None
    value = found["value"].strip()
    try:
        digest = base64.b64decode(value[1:-1], validate=True) if value[:1] == value[-1:] == ":" else b""
    except (binascii.Error, ValueError):
        digest = b""
    if len(digest) != 32:
        problem = FieldError("Content-Digest", "must be written as sha-256=:BASE64:")
        raise ValidationFailed("Some fields are not valid.", errors=[problem])
    return digest


def _field(request: AnyRequest, name: str) -> str:
    """Read a header: UTF-8 where it is that, as most who write such names send it."""
    raw = request.headers.get(name, "").encode("latin-1", "replace")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("latin-1")
