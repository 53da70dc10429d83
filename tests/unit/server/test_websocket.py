import json

from websockets.asyncio.client import connect

from edge_harness import create_frame, running_edge, saying


async def test_a_create_is_answered_by_its_events_in_order():
    async with running_edge(saying("he", "llo")) as edge, connect(edge.socket_url) as line:
        await line.send(create_frame())
        events = []
        while not events or events[-1]["type"] != "response.completed":
            events.append(json.loads(await line.recv()))
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[0]["type"] == "response.created"
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "hello"
