"""Is the time that the ledger claims really saved? Claims compared with uploads over links of known rate and round trip.

A link of packets: two TUN interfaces, one of them in a network namespace of its own, and a process between them that delays every
packet and lets the client's through at a rate, with a queue of two bandwidth-delay products (at least 64 kB). The TCP at both
ends is the kernel's, so its slow start, its pacing and its congestion control are real. A real `landline serve` answers from a
script at once.

The client sends one create with its history over HTTP (by which the connection is measured). Then, again and again, each after a
pause of a second: a turn with its new item only, which the ledger makes a claim for, and the same turn with the whole
conversation. What was really saved is how much longer the second one took to be answered. The difference holds what the server
does with the longer body, too, which the ledger does not claim.

Needs root on Linux.

    python benchmarks/upload_time.py
"""

import heapq
import json
import multiprocessing
import os
import re
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from fcntl import ioctl
from pathlib import Path
from struct import pack
from typing import NamedTuple

from setting import describe_setting, write_result

SERVER, CLIENT, PORT = "10.99.0.1", "10.99.0.2", 18_099
NAMESPACE = "landline-bench"
ROUNDS = 5
PAUSE_S = 1.0
FIRST_BYTES = 150_000
HISTORY_BYTES = (50_000, 400_000)
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CONFIG = f"""
[server]
host = "{SERVER}"
port = {PORT}
insecure_allow_public = true
[store]
url = "memory"
[targets.script]
dialect = "scripted"
transcript = "script.jsonl"
[models."m"]
targets = ["script"]
"""


class Link(NamedTuple):
    """From the client to the server and back."""

    round_trip_s: float
    uplink_bits: float
    """A second."""


class Case(NamedTuple):
    link: Link
    congestion_control: str


CASES = [
    Case(Link(round_trip_ms / 1000, megabits * 1e6), control)
    for round_trip_ms, megabits in ((20, 50), (50, 10), (80, 5), (120, 1))
    for control in ("cubic", "bbr")
]


class Saving(NamedTuple):
    """Of one turn, in seconds."""

    claimed_s: float | None
    real_s: float


def main() -> None:
    rows = [row for case in CASES for row in _rows(case)]
    write_result("upload_time", _report(rows))


def _rows(case: Case) -> list[str]:
    link, control = case
    with _linked(link), _serving() as log:
        command = ["ip", "netns", "exec", NAMESPACE, sys.executable, __file__, control]
        found = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ)
        timed = json.loads(found.stdout)
        time.sleep(0.3)  # the log is written up to 0.1 s later
        claims = [float(each) for each in re.findall(r" saved_s=([\d.]+)", log.read_text())]
    rows: list[str] = []
    at = 1  # behind the turn that measures the connection
    for history_bytes, pairs in zip(HISTORY_BYTES, timed, strict=True):
        at += 1  # the turn that makes the history
        savings = [Saving(claims[at + 2 * place], whole_s - new_s) for place, (new_s, whole_s) in enumerate(pairs)]
        at += 2 * len(pairs)
        claimed = statistics.median(each.claimed_s or 0.0 for each in savings)
        real = [each.real_s for each in savings]
        name = f"{link.round_trip_s * 1000:.0f} ms, {link.uplink_bits / 1e6:.0f} Mbit/s"
        rows.append(
            f"| {name} | {control} | {history_bytes // 1000} kB | {claimed:.3f} | {statistics.median(real):.3f} "
            f"| {min(real):.3f} … {max(real):.3f} | {100 * claimed / statistics.median(real):.0f} % |"
        )
        print(rows[-1], flush=True)
    return rows


def _report(rows: list[str]) -> list[str]:
    return [
        "# Is the time that the ledger claims really saved?",
        "",
        f"`python benchmarks/upload_time.py`: seconds a turn, medians of {ROUNDS}. *Really* is how much longer the answer takes to",
        f"begin if the whole conversation is uploaded. The connection is measured by a first body of {FIRST_BYTES // 1000} kB, and by those",
        "of the whole conversation.",
        "",
        *describe_setting("landline"),
        "",
        "| round trip, uplink | congestion control | without Landline | claimed | really | range | claimed of it |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        *rows,
        "",
        "Not shown: links that lose packets or change, TLS, and proxies in front of Landline.",
    ]


@contextmanager
def _serving() -> Generator[Path]:
    """The server's log, while it runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        (path / "landline.toml").write_text(_CONFIG)
        (path / "script.jsonl").write_text('[{"type": "text", "text": "Done."}]\n')
        log = path / "log"
        program = Path(sys.executable).parent / "landline"
        with log.open("w") as output:
            command = [str(program), "serve", "--config", str(path / "landline.toml")]
            server = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            while "listens on" not in log.read_text():
                time.sleep(0.1)
                assert server.poll() is None, log.read_text()
            yield log
        finally:
            server.terminate()
            server.wait()


@contextmanager
def _linked(link: Link) -> Generator[None]:
    """Both interfaces, and the process between them."""
    _run("ip", "netns", "add", NAMESPACE)
    try:
        near, far = _open_tun("llb0"), _open_tun("llb1")
        _run("ip", "link", "set", "llb1", "netns", NAMESPACE)
        _run("ip", "addr", "add", SERVER, "peer", CLIENT, "dev", "llb0")
        _run("ip", "link", "set", "llb0", "up")
        inside = ("ip", "-n", NAMESPACE)
        _run(*inside, "addr", "add", CLIENT, "peer", SERVER, "dev", "llb1")
        _run(*inside, "link", "set", "llb1", "up")
        carrier = multiprocessing.Process(target=_carry, args=(near, far, link), daemon=True)
        carrier.start()
        os.close(near)
        os.close(far)
        yield
        carrier.kill()
        carrier.join()
    finally:
        _run("ip", "netns", "del", NAMESPACE)


def _open_tun(name: str) -> int:
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    ioctl(tun, _TUNSETIFF, pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    return tun


def _carry(near: int, far: int, link: Link) -> None:
    """Packets both ways: all are delayed by half a round trip, and those of the client leave one after the other."""
    rate = link.uplink_bits / 8
    queue_bytes = max(64_000.0, 2 * rate * link.round_trip_s)
    under_way: list[tuple[float, int, int, bytes]] = []
    free_at, sequence = 0.0, 0
    while True:
        wait_s = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        readable, _, _ = select.select([near, far], [], [], wait_s)
        now = time.monotonic()
        for source in readable:
            packet = os.read(source, 65_536)
            leaves_at = now
            if source == far:
                if (free_at - now) * rate > queue_bytes:
                    continue
                leaves_at = free_at = max(free_at, now) + len(packet) / rate
            sequence += 1
            target = near if source == far else far
            heapq.heappush(under_way, (leaves_at + link.round_trip_s / 2, sequence, target, packet))
        while under_way and under_way[0][0] <= now:
            _, _, target, packet = heapq.heappop(under_way)
            os.write(target, packet)


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


class Client:
    """One connection, kept open, as an HTTP client has it."""

    def __init__(self, congestion_control: str) -> None:
        self._socket = socket.create_connection((SERVER, PORT))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion_control.encode())
        self._answers = self._socket.makefile("rb")

    def post(self, members: dict[str, object]) -> tuple[dict[str, object], float]:
        """The response, and how long it took to begin."""
        body = json.dumps({"model": "m", "store": True} | members).encode()
        head = f"POST /v1/responses HTTP/1.1\r\nhost: {SERVER}:{PORT}\r\ncontent-length: {len(body)}\r\n\r\n"
        time.sleep(PAUSE_S)
        began_at = time.monotonic()
        self._socket.sendall(head.encode() + body)
        line = self._answers.readline()
        took_s = time.monotonic() - began_at
        assert b"200" in line, line
        size_bytes = 0
        while (line := self._answers.readline().strip()) != b"":
            name, _, value = line.partition(b":")
            size_bytes = int(value) if name.lower() == b"content-length" else size_bytes
        return json.loads(self._answers.read(size_bytes)), took_s


def be_client(congestion_control: str) -> None:
    """Prints the seconds of each turn, with its new item only and with the whole conversation, for each size of history."""
    timed: list[list[tuple[float, float]]] = []
    client = Client(congestion_control)
    client.post({"input": "x" * FIRST_BYTES})
    setup = Client(congestion_control)  # another connection: these turns measure nothing
    for history_bytes in HISTORY_BYTES:
        past = [{"role": "user", "content": "x" * history_bytes}]
        response, _ = setup.post({"input": past})
        said = response["output"]
        assert isinstance(said, list)
        new = [{"role": "user", "content": "more"}]
        pairs: list[tuple[float, float]] = []
        for _ in range(ROUNDS):
            _, new_s = client.post({"input": new, "previous_response_id": response["id"]})
            _, whole_s = client.post({"input": [*past, *said, *new]})
            pairs.append((new_s, whole_s))
        timed.append(pairs)
    print(json.dumps(timed))


if __name__ == "__main__":
    be_client(sys.argv[1]) if len(sys.argv) > 1 else main()
