"""Files over HTTP: kept once, given back as they came, and shown to nobody but their owner."""

import asyncio
import base64
import hashlib
from uuid import UUID, uuid4

import httpx
import pytest
from sqlalchemy import text

from app.features.attachments.domain.attachment import FILE_LIMIT_BYTES, TEXT_LIMIT_BYTES
from app.infra.db.engine import Database, DatabaseOptions
from tests.files import JPEG, PDF, PNG, TEXT
from tests.http.calls import as_, attach, fields_of, somebody

PATH = "/api/v1/attachments"
FORM = "multipart/form-data; boundary=xyz"
NOBODYS = UUID(int=7 << 76)


def send(
    caller: httpx.Client, owner: str, content: bytes, name: str = "a.png", type_: str = "image/png"
) -> httpx.Response:
    return caller.post(f"{PATH}/", files={"file": (name, content, type_)}, headers=as_(owner))


def counted(dsn: str, statement: str, **values: object) -> int:
    async def count() -> int:
        database = Database(DatabaseOptions(dsn=dsn))
        async with database.engine.connect() as connection:
            found = await connection.scalar(text(statement), values)
        await database.aclose()
        return int(found)

    return asyncio.run(count())


def blobs(dsn: str, content: bytes) -> int:
    statement = "SELECT count(*) FROM attachment_blobs WHERE digest = :digest"
    return counted(dsn, statement, digest=hashlib.sha256(content).digest())


def of_somebody(tail: str = "") -> bytes:
    """A picture that no other test has."""
    return PNG + uuid4().bytes + tail.encode()


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("POST", "/"), ("GET", f"/{NOBODYS}"), ("GET", f"/{NOBODYS}/content"), ("DELETE", f"/{NOBODYS}")],
)
def test_who_is_anonymous_or_a_guest_is_kept_out(caller: httpx.Client, method: str, path: str) -> None:
    anonymous = caller.request(method, PATH + path)
    guest = caller.request(method, PATH + path, headers=as_(somebody(), "guest"))

    assert (anonymous.status_code, guest.status_code) == (401, 403)


@pytest.mark.parametrize("role", ["user", "manager"])
def test_what_is_somebody_elses_is_not_found(caller: httpx.Client, role: str) -> None:
    owner, other = somebody(), as_(somebody(), role)
    path = f"{PATH}/{attach(caller, owner, of_somebody(), 'a.png')['id']}"

    refused = [caller.get(path, headers=other), caller.get(f"{path}/content", headers=other)]
    refused.append(caller.delete(path, headers=other))

    assert {(one.status_code, one.json()["type"]) for one in refused} == {(404, "attachment-not-found")}
    assert caller.get(f"{PATH}/", headers=other).json()["items"] == []
    assert caller.get(f"{PATH}/", params={"user_id": owner}, headers=other).status_code == 403
    assert caller.get(path, headers=as_(owner)).status_code == 200


@pytest.mark.parametrize(
    ("query", "field"),
    [("pageSize=0", "pageSize"), ("orderBy=owner", "orderBy"), ("createdAfter=soon", "createdAfter"), ("ids=1", "ids")],
)
def test_a_list_that_is_asked_for_wrongly_is_refused(caller: httpx.Client, query: str, field: str) -> None:
    answer = caller.get(f"{PATH}/?{query}", headers=as_(somebody()))

    assert (answer.status_code, fields_of(answer)) == (400, [field])


@pytest.mark.parametrize("wrong", ["1", "x", "%00", "..%2f"])
def test_an_id_is_a_uuid(caller: httpx.Client, wrong: str) -> None:
    answer = caller.get(f"{PATH}/{wrong}", headers=as_(somebody()))

    assert answer.status_code in (400, 404)


REFUSALS = {
    "too large": ((PNG.ljust(FILE_LIMIT_BYTES + 1, b"\0"), "a.png", "image/png"), 413, "attachment-too-large", "10 MB"),
    "a text too large": ((b"x" * (TEXT_LIMIT_BYTES + 1), "a.txt", "text/plain"), 413, "attachment-too-large", "1 MB"),
    "another type": ((JPEG, "a.png", "image/png"), 415, "attachment-type-refused", "image/jpeg"),
    "of no kind": ((b"MZ\x90\x00", "a.exe", "application/octet-stream"), 415, "attachment-type-refused", "PNG, JPEG"),
    "nothing": ((b"", "a.png", "image/png"), 400, "validation-failed", "valid"),
}


@pytest.mark.parametrize(("file", "status", "type_", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_is_not_kept_is_told_with_what_would_be(
    caller: httpx.Client, file: tuple[bytes, str, str], status: int, type_: str, words: str
) -> None:
    owner = somebody()
    content, name, media_type = file

    in_form = send(caller, owner, content, name, media_type)
    alone = caller.post(f"{PATH}/", content=content, headers={**as_(owner), "content-type": media_type})

    for answer in (in_form, alone):
        assert (answer.status_code, answer.json()["type"]) == (status, type_)
        assert words in answer.json()["detail"]
    assert caller.get(f"{PATH}/", headers=as_(owner)).json()["total"] == 0


def test_a_body_is_read_no_further_than_its_limit(caller: httpx.Client) -> None:
    def pieces() -> list[bytes]:
        return [b"x" * 65536] * 180  # 11.25 MB, of unknown length

    chunked = caller.post(f"{PATH}/", content=iter(pieces()), headers={**as_(somebody()), "content-type": "image/png"})
    keyed = caller.post(f"{PATH}/", content=b"".join(pieces()), headers={**as_(somebody()), "idempotency-key": "a"})
    elsewhere = caller.post("/api/v1/chats/", content=b"x" * (5 * 1024**2), headers=as_(somebody()))

    assert (chunked.status_code, chunked.json()["type"]) == (413, "attachment-too-large")
    assert (keyed.status_code, keyed.json()["type"]) == (413, "attachment-too-large")
    assert (elsewhere.status_code, elsewhere.json()["type"]) == (413, "body-too-large")


def test_a_file_is_given_back_as_it_came(caller: httpx.Client) -> None:
    owner, content = somebody(), of_somebody()

    answer = send(caller, owner, content, "../Käse \u202e\r\n.png")

    kept = answer.json()
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert answer.headers["location"] == f"{PATH}/{kept['id']}"
    assert kept == {**kept, "user_id": owner, "name": "Käse .png", "media_type": "image/png", "digest": digest}
    assert kept["size_bytes"] == len(content)
    assert caller.get(f"{PATH}/{kept['id']}", headers=as_(owner)).json() == kept

    got = caller.get(f"{PATH}/{kept['id']}/content", headers=as_(owner))
    assert (got.status_code, got.content) == (200, content)
    assert got.headers["content-type"] == "image/png"
    assert got.headers["content-disposition"] == "attachment; filename=\"K_se .png\"; filename*=UTF-8''K%C3%A4se%20.png"
    assert got.headers["x-content-type-options"] == "nosniff"
    assert got.headers["content-security-policy"].startswith("sandbox")
    assert got.headers["etag"] == f'"{digest}"'
    again = caller.get(
        f"{PATH}/{kept['id']}/content", headers={**as_(owner), "if-none-match": f'"x", W/{got.headers["etag"]}'}
    )
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", got.headers["etag"])
    anything = caller.get(f"{PATH}/{kept['id']}/content", headers={**as_(owner), "if-none-match": "*"})
    other = caller.get(f"{PATH}/{kept['id']}/content", headers={**as_(owner), "if-none-match": '"sha256:0"'})
    assert (anything.status_code, other.status_code) == (304, 200)


def test_a_file_may_be_the_body_itself(caller: httpx.Client) -> None:
    owner = somebody()
    digest = base64.b64encode(hashlib.sha256(TEXT).digest()).decode()
    headers = {
        "content-disposition": 'attachment; filename="list.md"',
        "content-digest": f"sha-512=:AA==:, sha-256=:{digest}:",
    }

    answer = caller.post(f"{PATH}/", content=TEXT, headers={**as_(owner), **headers})
    unnamed = caller.post(f"{PATH}/", content=PDF, headers={**as_(owner), "content-type": "application/pdf"})

    assert (answer.status_code, unnamed.status_code) == (201, 201)
    assert (answer.json()["name"], answer.json()["media_type"]) == ("list.md", "text/markdown")
    assert unnamed.json()["name"] == "attachment.pdf"
    got = caller.get(f"{PATH}/{answer.json()['id']}/content", headers=as_(owner))
    assert (got.headers["content-type"], got.content) == ("text/markdown; charset=utf-8", TEXT)


def test_a_digest_that_is_not_the_files_is_refused(caller: httpx.Client) -> None:
    owner, wrong = somebody(), base64.b64encode(b"\0" * 32).decode()

    in_form = caller.post(
        f"{PATH}/", files={"file": ("a.png", PNG)}, data={"digest": f"sha256:{'0' * 64}"}, headers=as_(owner)
    )
    alone = caller.post(f"{PATH}/", content=PNG, headers={**as_(owner), "content-digest": f"sha-256=:{wrong}:"})
    no_digest = caller.post(f"{PATH}/", content=PNG, headers={**as_(owner), "content-digest": "sha-256=zzz"})
    right = f"sha256:{hashlib.sha256(PNG).hexdigest()}"
    fits = caller.post(f"{PATH}/", files={"file": ("a.png", PNG)}, data={"digest": right}, headers=as_(owner))

    assert {(one.status_code, one.json()["type"]) for one in (in_form, alone)} == {(400, "attachment-digest-mismatch")}
    assert right in alone.json()["detail"]
    assert (no_digest.status_code, fields_of(no_digest)) == (400, ["Content-Digest"])
    assert fits.status_code == 201


def test_the_same_file_twice_is_kept_once(caller: httpx.Client, migrated_dsn: str) -> None:
    ann, bob, content = somebody(), somebody(), of_somebody()

    first, again = attach(caller, ann, content, "a.png"), attach(caller, ann, content, "a.png")
    renamed, others = attach(caller, ann, content, "b.png"), attach(caller, bob, content, "a.png")

    assert first == again
    assert len({first["id"], renamed["id"], others["id"]}) == 3
    assert {one["digest"] for one in (first, renamed, others)} == {first["digest"]}
    assert blobs(migrated_dsn, content) == 1
    for owner, one in ((ann, first), (ann, renamed)):
        assert caller.delete(f"{PATH}/{one['id']}", headers=as_(owner)).status_code == 204
    assert caller.get(f"{PATH}/{others['id']}/content", headers=as_(bob)).content == content
    assert caller.delete(f"{PATH}/{others['id']}", headers=as_(bob)).status_code == 204
    assert caller.delete(f"{PATH}/{others['id']}", headers=as_(bob)).json()["type"] == "attachment-not-found"
    assert blobs(migrated_dsn, content) == 0


def test_a_key_keeps_a_form_once_whatever_its_boundary(caller: httpx.Client) -> None:
    owner, content = somebody(), of_somebody()
    headers = {**as_(owner), "idempotency-key": "once"}

    first, again = [caller.post(f"{PATH}/", files={"file": ("a.png", content)}, headers=headers) for _ in range(2)]
    other = caller.post(f"{PATH}/", files={"file": ("b.png", content)}, headers=headers)

    assert first.request.headers["content-type"] != again.request.headers["content-type"]
    assert (again.status_code, again.json(), again.headers["idempotent-replayed"]) == (201, first.json(), "true")
    assert (other.status_code, other.json()["type"]) == (409, "idempotency-mismatch")


def test_one_lists_ones_own_and_an_admin_anybodys(caller: httpx.Client, migrated_dsn: str) -> None:
    owner, admin = somebody(), somebody()
    kept = [attach(caller, owner, of_somebody(), f"picture {n}.png") for n in range(3)]
    attach(caller, owner, TEXT, "list.txt")

    page = caller.get(f"{PATH}/", params={"pageSize": 2}, headers=as_(owner)).json()
    found = caller.get(f"{PATH}/?searchField=name&searchString=PICTURE&sortOrder=asc", headers=as_(owner)).json()
    by_id = caller.get(f"{PATH}/", params={"ids": kept[0]["id"]}, headers=as_(owner)).json()
    later = caller.get(f"{PATH}/?updatedAfter=2020-01-01&orderBy=size_bytes", headers=as_(owner)).json()

    assert (page["total"], [one["name"] for one in page["items"]]) == (4, ["list.txt", "picture 2.png"])
    assert found["items"] == kept
    assert by_id["items"] == kept[:1]
    assert later["total"] == 4
    of_owner = caller.get(f"{PATH}/", params={"user_id": owner}, headers=as_(admin, "admin")).json()
    assert of_owner["total"] == 4
    read = caller.get(f"{PATH}/{kept[0]['id']}/content", headers=as_(admin, "admin"))
    deleted = caller.delete(f"{PATH}/{kept[1]['id']}", headers=as_(admin, "admin"))
    assert (read.status_code, deleted.status_code) == (200, 204)
    trail = caller.get("/api/v1/audit", headers=as_(admin, "admin")).json()["items"]
    assert [(one["action"], one["object_id"]) for one in trail if one["who"] == admin] == [
        ("attachment.deleted", kept[1]["id"]),
        ("attachment.read", kept[0]["id"]),
    ]


def test_one_person_keeps_so_many_and_no_more(caller: httpx.Client, migrated_dsn: str) -> None:
    owner = somebody()
    first = attach(caller, owner, PNG, "a.png")
    fill = """INSERT INTO attachments (id, owner, digest, name, media_type, size_bytes)
        SELECT gen_random_uuid(), owner, digest, name || n, media_type, size_bytes
        FROM attachments, generate_series(1, 999) AS n WHERE id = :id RETURNING 1"""

    async def fill_up() -> None:
        database = Database(DatabaseOptions(dsn=migrated_dsn))
        async with database.engine.begin() as connection:
            await connection.execute(text(fill), {"id": first["id"]})
        await database.aclose()

    asyncio.run(fill_up())

    full = send(caller, owner, JPEG, type_="image/jpeg")

    assert (full.status_code, full.json()["type"]) == (409, "attachments-full")
    assert "1000 files and 200 MB" in full.json()["detail"]
    assert attach(caller, owner, PNG, "a.png") == first  # it is there already


def _part(name: str, content: bytes, rest: str = "") -> bytes:
    return f'--xyz\r\nContent-Disposition: form-data; name="{name}"{rest}\r\n\r\n'.encode() + content + b"\r\n"


FILE = _part("file", PNG, '; filename="a.png"')
HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "no end": FILE,
    "no file": b"--xyz--\r\n",
    "only a digest": _part("digest", b"sha256:0") + b"--xyz--",
    "two files": FILE + FILE + b"--xyz--",
    "two digests": FILE + _part("digest", b"a") * 2 + b"--xyz--",
    "another field": FILE + _part("owner", b"root") + b"--xyz--",
    "many fields": FILE + _part("x", b"") * 5000 + b"--xyz--",
    "a digest that is none": FILE + _part("digest", b"\xff\xfe\0") + b"--xyz--",
    "a digest that is long": FILE + _part("digest", b"0" * 100_000) + b"--xyz--",
    "a head without end": b"--xyz\r\n" + b"A" * 1_000_000,
    "a head that is long": b"--xyz\r\n" + b"A: b\r\n" * 100_000 + b"\r\nx\r\n--xyz--",
    "no name": b"--xyz\r\nContent-Disposition: form-data\r\n\r\nx\r\n--xyz--",
    "a name of rubbish": _part("\udcff".encode("utf-8", "surrogatepass").decode("latin-1"), b"x") + b"--xyz--",
    "boundaries alone": b"--xyz\r\n" * 100_000,
    "breaks alone": b"\r\n" * 1_000_000,
    "almost boundaries": b"--xyz\r\nA: b\r\n\r\n" + b"\r\n--xy" * 300_000,
    "nulls": b"\0" * 1_000_000,
    "json": b'{"file": 1}',
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_form_is_refused_and_no_more(caller: httpx.Client, body: bytes) -> None:
    answer = caller.post(f"{PATH}/", content=body, headers={**as_(somebody()), "content-type": FORM})

    assert answer.status_code == 400, answer.text
    assert answer.json()["type"] in ("malformed", "validation-failed")


@pytest.mark.parametrize(
    "content_type",
    ["multipart/form-data", "multipart/form-data; boundary=", f"multipart/form-data; boundary={'x' * 90}"],
)
def test_a_form_without_a_boundary_is_refused(caller: httpx.Client, content_type: str) -> None:
    answer = caller.post(f"{PATH}/", content=FILE, headers={**as_(somebody()), "content-type": content_type})

    assert (answer.status_code, answer.json()["type"]) == (400, "malformed")
