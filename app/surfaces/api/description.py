"""`GET /openapi.json`: what the endpoints are, for machines. `/docs` shows the same to people."""

from litestar import Request, Response, get
from litestar.datastructures import State
from litestar.serialization import encode_json


@get("/openapi.json", include_in_schema=False, opt={"access": "PUBLIC"}, sync_to_thread=False)
def describe(request: Request[None, None, State]) -> Response[bytes]:
    document = request.app.openapi_schema.to_schema()
    return Response(encode_json(document), media_type="application/json")
