"""What the streams add to the container. They ask others for the engine, the event log and use cases."""

from dishka import Provider, Scope, provide, provide_all

from app.infra.observability.background import Background
from app.infra.observability.siblings import Siblings
from app.kernel.draining import Draining
from app.surfaces.streams.chat_socket import ChatDoor
from app.surfaces.streams.exchange import Views
from app.surfaces.streams.open_streams import OpenStreams
from app.surfaces.streams.patience import Patience
from app.surfaces.streams.task_socket import TaskDoor


class StreamsProvider(Provider):
    scope = Scope.APP

    views = provide(Views)
    doors = provide_all(ChatDoor, TaskDoor)

    @provide
    def streams(self, draining: Draining, background: Background, siblings: Siblings) -> OpenStreams:
        streams = OpenStreams(draining)
        background.add("streams", streams.keep)
        siblings.sources.add(streams.families)
        return streams

    @provide
    def patience(self, draining: Draining) -> Patience:
        return Patience(draining)
