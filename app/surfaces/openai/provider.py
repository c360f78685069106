"""What this door adds to the container. It asks others for use cases, the event log and the open streams."""

from dishka import Provider, Scope, provide

from app.surfaces.openai.controller import Completions


class OpenAIProvider(Provider):
    scope = Scope.APP

    completions = provide(Completions)
