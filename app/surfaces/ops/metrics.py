"""`GET /metrics`: what all workers counted, for Prometheus. Numbers, routes and addresses of ours; no user, no path."""

from dishka.integrations.litestar import FromDishka, inject
from litestar import Controller, Request, Response, get
from litestar.datastructures import State

from app.edge.metrics_readers import MetricsReaders
from app.edge.record import Record
from app.infra.observability.metrics import exposition
from app.infra.observability.siblings import Siblings

CONTENT_TYPE = "text/plain; version=0.0.4"  # Litestar adds the charset


class MetricsController(Controller):
    path = "/metrics"
    tags = ("metrics",)
    opt = {"access": "PUBLIC"}  # noqa: RUF012 - Litestar reads it as a mapping
    include_in_schema = False  # not an operation of the API: a scraper knows the format

    @get("", media_type=CONTENT_TYPE)
    @inject
    async def read_metrics(
        self, request: Request[None, None, State], readers: FromDishka[MetricsReaders], siblings: FromDishka[Siblings]
    ) -> Response[str]:
        """Write down every metric, in the text format of Prometheus, for STAFF and METRICS_NETWORKS."""
        state = request.scope["state"]
        record = state.get("edge_record")
        readers.admit(record.client if isinstance(record, Record) else "", state.get("principal"))
        return Response(exposition(await siblings.read()).decode(), media_type=CONTENT_TYPE)
