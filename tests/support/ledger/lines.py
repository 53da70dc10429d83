"""Reads what a server's log says of turns and sockets."""

import re
from dataclasses import dataclass

from support.servers.running import RunningServer

_PAIR = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


@dataclass(frozen=True)
class LoggedTurns:
    """The turns of one model name, and the sockets that they came on, as the log has them."""

    turns: list[dict[str, str]]
    sockets: list[dict[str, str]]

    def sum(self, name: str) -> int:
        """One number of all turns together."""
        return sum(int(turn[name]) for turn in self.turns)

    @property
    def wire_in(self) -> int:
        """Everything received: turns, and what is no turn's."""
        return self.sum("wire_in") + sum(int(socket["overhead_in"]) for socket in self.sockets)

    @property
    def wire_out(self) -> int:
        return self.sum("wire_out") + sum(int(socket["overhead_out"]) for socket in self.sockets)


def logged_turns(server: RunningServer, model: str, count: int) -> LoggedTurns:
    """The turns of that model, when so many have ended and their sockets are closed."""
    turns = _read(server, "turn_ended", model)
    while len(turns) < count:
        server.wait_for_line("turn_ended")
        turns = _read(server, "turn_ended", model)
    sessions = {turn["session"] for turn in turns if turn["transport"] == "socket"}
    sockets: list[dict[str, str]] = []
    while len(sockets) < len(sessions):
        sockets = [line for line in _read(server, "socket_closed") if line["session"] in sessions]
        if len(sockets) < len(sessions):
            server.wait_for_line("socket_closed")
    return LoggedTurns(turns, sockets)


def _read(server: RunningServer, event: str, model: str | None = None) -> list[dict[str, str]]:
    lines = [dict(_PAIR.findall(line)) for line in server.log.splitlines() if f" event={event} " in line]
    return [line for line in lines if model is None or line["model"] == model]
