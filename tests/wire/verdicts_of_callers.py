"""What becomes of a request by who sends it, case by case: tokens, origins, roles, and who it claims to be from."""

from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key

from tests.builders import a_token
from tests.wire.caller import get
from tests.wire.verdict import Case, Verdict, bearer, in_cookie, let_in, refused

GOOD, OTHER = a_token(sub="7"), a_token(sub="8")
MANAGER, ADMIN = a_token(sub="m", role="manager"), a_token(sub="a", role="admin")
EXPIRED = a_token(exp=1_000_000_000)
FORGED = a_token(key=generate_private_key(public_exponent=65537, key_size=2048))
SEVEN = (b"x-user-id: 7", b"x-user-role: user")
MINE = b"/mine/x"
PAGE = b"Origin: https://page.test"
STRANGER = b"Origin: https://stranger.test"
POSTS = b"Access-Control-Request-Method: POST"

TOKENS = {
    "token in the header": let_in(get(MINE, bearer(GOOD)), b"GET /mine/x", *SEVEN),
    "token in the cookie": let_in(get(MINE, in_cookie(GOOD)), b"GET /mine/x", *SEVEN),
    "the same in both": let_in(get(MINE, bearer(GOOD), in_cookie(GOOD)), b"GET /mine/x", *SEVEN),
    "scheme in capitals": let_in(get(MINE, b"AUTHORIZATION: BEARER " + GOOD.encode()), b"GET /mine/x", *SEVEN),
    "spaces around the token": let_in(
        get(MINE, b"Authorization:  Bearer  " + GOOD.encode() + b" \t"), b"GET /mine/x", *SEVEN
    ),
    "beside another scheme's cookie": let_in(
        get(MINE, b"Authorization: Basic dTpw", in_cookie(GOOD)), b"GET /mine/x", *SEVEN
    ),
    "other cookies stay": let_in(
        get(MINE, b"Cookie: a=1; pg_access_token=" + GOOD.encode() + b"; pg_refresh_token=r; b=2"),
        b"GET /mine/x",
        b"cookie: a=1; b=2",
        *SEVEN,
    ),
    "cookies in two fields": let_in(
        get(MINE, b"Cookie: a=1", in_cookie(GOOD), b"Cookie: b=2"), b"GET /mine/x", b"cookie: a=1; b=2", *SEVEN
    ),
    "none": refused(get(MINE), 401, "token-missing"),
    "empty cookie": refused(get(MINE, in_cookie("")), 401, "token-missing"),
    "another scheme": refused(get(MINE, b"Authorization: Basic dTpw"), 401, "token-missing"),
    "different ones": refused(get(MINE, bearer(GOOD), in_cookie(OTHER)), 401, "token-invalid"),
    "two headers": refused(get(MINE, bearer(GOOD), bearer(GOOD)), 401, "token-invalid"),
    "two headers of two schemes": refused(get(MINE, bearer(GOOD), b"Authorization: Basic dTpw"), 401, "token-invalid"),
    "two cookies": refused(get(MINE, in_cookie(GOOD), in_cookie(GOOD)), 401, "token-invalid"),
    "two cookies in one field": refused(
        get(MINE, in_cookie(GOOD) + b"; pg_access_token=" + OTHER.encode()), 401, "token-invalid"
    ),
    "expired": refused(get(MINE, bearer(EXPIRED)), 401, "token-expired"),
    "expired in the cookie": refused(get(MINE, in_cookie(EXPIRED)), 401, "token-expired"),
    "bad signature": refused(get(MINE, bearer(FORGED)), 401, "token-invalid"),
    "one letter changed": refused(get(MINE, bearer(GOOD[:-9] + "A" + GOOD[-8:])), 401, "token-invalid"),
    "padded": refused(get(MINE, bearer(GOOD + "=")), 401, "token-invalid"),
    "no signature": refused(get(MINE, bearer(GOOD.rpartition(".")[0] + ".")), 401, "token-invalid"),
    "no expiry": refused(get(MINE, bearer(a_token(exp=None))), 401, "token-invalid"),
    "not yet": refused(get(MINE, bearer(a_token(nbf=2**33, exp=2**34))), 401, "token-invalid"),
    "no subject": refused(get(MINE, bearer(a_token(sub=None))), 401, "token-invalid"),
    "two words": refused(get(MINE, b"Authorization: Bearer " + GOOD.encode() + b" x"), 401, "token-invalid"),
    "nothing after the scheme": refused(get(MINE, b"Authorization: Bearer"), 401, "token-invalid"),
    "on a public row": let_in(get(b"/main/x", bearer(GOOD)), b"GET /main/x", *SEVEN),
    "bad on a public row": let_in(get(b"/main/x", bearer(FORGED)), b"GET /main/x"),
    "two on a public row": let_in(get(b"/main/x", bearer(GOOD), bearer(GOOD)), b"GET /main/x"),
    "forwarded where the row says so": let_in(
        get(b"/trusted/x", bearer(GOOD)), b"GET /trusted/x", *SEVEN, b"authorization: Bearer " + GOOD.encode()
    ),
}

ORIGINS = {
    "cookie and a safe method": let_in(
        get(MINE, in_cookie(GOOD), STRANGER), b"GET /mine/x", STRANGER.replace(b"O", b"o", 1), *SEVEN
    ),
    "cookie and no origin": refused(get(MINE, in_cookie(GOOD), method=b"POST"), 403, "origin-not-allowed"),
    "cookie and a stranger": refused(get(MINE, in_cookie(GOOD), STRANGER, method=b"POST"), 403, "origin-not-allowed"),
    "cookie and null": refused(get(MINE, in_cookie(GOOD), b"Origin: null", method=b"POST"), 403, "origin-not-allowed"),
    "cookie and two origins": refused(
        get(MINE, in_cookie(GOOD), PAGE, STRANGER, method=b"POST"), 403, "origin-not-allowed"
    ),
    "cookie and a listed origin": let_in(
        get(MINE, in_cookie(GOOD), PAGE, method=b"POST"), b"POST /mine/x", b"origin: https://page.test", *SEVEN
    ),
    "cookie and our own origin": let_in(
        get(MINE, in_cookie(GOOD), b"Origin: http://front", method=b"DELETE"),
        b"DELETE /mine/x",
        b"origin: http://front",
        *SEVEN,
    ),
    "cookie and the same site": let_in(
        get(MINE, in_cookie(GOOD), b"Sec-Fetch-Site: same-origin", method=b"PUT"),
        b"PUT /mine/x",
        b"sec-fetch-site: same-origin",
        *SEVEN,
    ),
    "cookie and another site": refused(
        get(MINE, in_cookie(GOOD), b"Sec-Fetch-Site: cross-site", b"Origin: http://front", method=b"PUT"),
        403,
        "origin-not-allowed",
    ),
    "bearer and a stranger": let_in(
        get(MINE, bearer(GOOD), STRANGER, method=b"POST"), b"POST /mine/x", b"origin: https://stranger.test", *SEVEN
    ),
    "preflight of a listed origin": Case(get(MINE, PAGE, POSTS, method=b"OPTIONS"), Verdict(204)),
    "preflight of a stranger": refused(get(MINE, STRANGER, POSTS, method=b"OPTIONS"), 401, "token-missing"),
    "preflight of a method no row takes": refused(
        get(b"/reads/x", PAGE, POSTS, method=b"OPTIONS"), 405, "method-not-allowed"
    ),
    "preflight of no row": refused(get(b"/nowhere", PAGE, POSTS, method=b"OPTIONS"), 404, "route-not-found"),
    "OPTIONS that is no preflight": refused(get(MINE, PAGE, method=b"OPTIONS"), 401, "token-missing"),
    "OPTIONS for the server": Case(get(b"*", method=b"OPTIONS"), Verdict(204)),
}

ROLES = {
    "user at staff": refused(get(b"/staff/x", bearer(GOOD)), 403, "role-not-allowed"),
    "manager at staff": let_in(
        get(b"/staff/x", bearer(MANAGER)), b"GET /staff/x", b"x-user-id: m", b"x-user-role: manager"
    ),
    "manager at admin": refused(get(b"/admin/x", bearer(MANAGER)), 403, "role-not-allowed"),
    "admin at admin": let_in(get(b"/admin/x", bearer(ADMIN)), b"GET /admin/x", b"x-user-id: a", b"x-user-role: admin"),
    "admin at a closed door": refused(get(b"/closed/x", bearer(ADMIN)), 403, "role-not-allowed"),
    "nobody at staff": refused(get(b"/staff/x"), 401, "token-missing"),
    "an unknown role": refused(get(MINE, bearer(a_token(role="stranger"))), 403, "role-not-allowed"),
    "several roles": let_in(
        get(b"/staff/x", bearer(a_token(sub="7", role=["user", "manager"]))),
        b"GET /staff/x",
        b"x-user-id: 7",
        b"x-user-role: manager",
    ),
    "the open row within": let_in(get(b"/staff/open"), b"GET /staff/open"),
    "the open row's other spelling": refused(get(b"/staff/open/"), 401, "token-missing"),
}

IDENTITY_NAMES = (
    b"X-User-Id", b"x-user-id", b"X-USER-ID", b"X_User_Id", b"X-User_Id", b"x_user-role", b"X.User.Id", b"X~User~Id",
    b"X-User-Anything", b"X-User-", b"x!user!id", b"X-User-Role",
)  # fmt: skip

IDENTITIES = {
    **{
        f"identity {name.decode()}": let_in(get(MINE, bearer(GOOD), name + b": 1"), b"GET /mine/x", *SEVEN)
        for name in IDENTITY_NAMES
    },
    "identity of nobody": let_in(get(b"/main/x", b"X-User-Id: 1", b"X_USER_ROLE: admin"), b"GET /main/x"),
    "identity twice": let_in(get(MINE, bearer(GOOD), b"X-User-Id: 1", b"x-user-id: 2"), b"GET /mine/x", *SEVEN),
    "identity named in Connection": let_in(
        get(MINE, bearer(GOOD), b"Connection: X-User-Id, x-user-role, authorization, X-Request-Id"),
        b"GET /mine/x",
        *SEVEN,
    ),
    "another target": let_in(
        get(b"/main/x", b"X-Original-URL: /admin", b"X-Rewrite-URL: /admin", b"X_Original_URL: /admin"), b"GET /main/x"
    ),
    "another client": let_in(
        get(
            b"/main/x",
            b"X-Forwarded-For: 1.1.1.1",
            b"X-Real-IP: 1.1.1.1",
            b"Forwarded: for=1.1.1.1",
            b"X-Forwarded-Proto: https",
            b"X-Forwarded-Host: other",
            b"X_Forwarded_For: 1.1.1.1",
            b"X-Forwarded-Prefix: /x",
        ),
        b"GET /main/x",
    ),
    "another request's id": let_in(get(b"/main/x", b"X-Request-Id: 0123456789abcdef"), b"GET /main/x"),
}
