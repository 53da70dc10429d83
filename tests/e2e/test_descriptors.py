"""A server that runs out of descriptors says so, keeps what is open, and takes connections again once it can."""

import json
import resource
import socket
import urllib.request
from pathlib import Path

from support.servers.running import RunningServer

CONFIG = """
[store]
url = "memory"
[targets.script]
dialect = "scripted"
transcript = "turns.jsonl"
[models."m"]
targets = ["script"]
"""
LIMIT = 64


def is_healthy(server: RunningServer) -> bool:
    with urllib.request.urlopen(server.base_url.replace("/v1", "/health"), timeout=10) as reply:
        return json.load(reply) == {"status": "ok"}


def test_running_out_of_descriptors_is_said_and_passes(tmp_path: Path) -> None:
    (tmp_path / "turns.jsonl").write_text('[{"type": "text", "text": "Hello."}]\n')
    with RunningServer(CONFIG, tmp_path) as server:
        resource.prlimit(server.process_id, resource.RLIMIT_NOFILE, (LIMIT, LIMIT))
        clients = [socket.create_connection(("127.0.0.1", server.port), timeout=10) for _ in range(2 * LIMIT)]
        said = server.wait_for_line("descriptors_exhausted")
        assert f"limit={LIMIT}" in said
        assert "ulimit -n" in said
        clients[0].sendall(b"GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n")
        assert clients[0].recv(100).startswith(b"HTTP/1.1 200 ")
        for client in clients:
            client.close()
        server.wait_for_line("descriptors_available")
        assert is_healthy(server)
        assert server.log.count("descriptors_exhausted") == 1
