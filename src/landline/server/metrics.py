"""`GET /metrics`: what the server counts, for Prometheus."""

import asyncio

from starlette.types import Receive, Scope, Send

from landline.metrics.exposition import collect, encode
from landline.metrics.families import MetricSources
from landline.server.listings import Answer


def show_metrics(sources: MetricSources) -> Answer:
    """Answers a scrape. The text is made in another thread, because a large one takes longer than turns should wait."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
        exposition = await asyncio.to_thread(encode, collect(sources), accept)
        headers = [
            (b"content-type", exposition.content_type.encode()),
            (b"content-length", str(len(exposition.body)).encode()),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": exposition.body if scope["method"] == "GET" else b""})

    return answer
