"""What jobs add to the container. They ask others for use cases, the event log and the open streams."""

from dishka import Provider, Scope, provide

from app.surfaces.jobs.controller import Jobs


class JobsProvider(Provider):
    scope = Scope.APP

    jobs = provide(Jobs)
