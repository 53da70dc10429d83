import pytest
from websockets.asyncio.client import connect

from landline.server.subprotocols import choose_subprotocol
from support.servers.edge import running_edge, saying

KEY = "openai-insecure-api-key.sk-aaaabbbbcccc"


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ([], None),
        (["chat"], "chat"),
        (["chat", "superchat"], "chat"),
        (["v1.agent", "responses"], "responses"),
        (["realtime", KEY, "openai-beta.realtime-v1"], "realtime"),
        ([KEY, "realtime"], "realtime"),
        ([KEY, "agent"], "agent"),
        ([KEY, "openai-organization.org-1", "openai-project.proj_1", "agent"], "agent"),
        (["bearer", "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl"], "bearer"),
        (["base64url.bearer.authorization.example.dG9rZW4", "agent"], "agent"),
        (["sk-1234", "agent"], "agent"),
        (["a" * 64, "agent"], "agent"),
        ([KEY], KEY),
        (["", "two words", "agent"], "agent"),
        (["two words"], None),
    ],
)
def test_the_choice_is_a_name_and_a_key_only_where_there_is_nothing_else(offered, chosen):
    assert choose_subprotocol(offered) == chosen


async def test_a_socket_is_opened_with_the_chosen_one():
    async with running_edge(saying("hi")) as edge:
        async with connect(edge.socket_url, subprotocols=[KEY, "responses"]) as line:
            assert line.subprotocol == "responses"
        async with connect(edge.socket_url) as line:
            assert line.subprotocol is None
