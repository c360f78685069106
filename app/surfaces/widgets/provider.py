"""What this door adds to the container. It asks others for use cases, the event log and the open streams."""

from dishka import Provider, Scope, provide

from app.surfaces.widgets.controller import Visits


class VisitsProvider(Provider):
    scope = Scope.APP

    visits = provide(Visits)
