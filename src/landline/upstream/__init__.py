"""Bytes to and from targets; changes with transports and the ways they fail."""

from landline.upstream.http import HttpDeadlines, HttpTarget, open_session, stream_request
from landline.upstream.script import ScriptError
from landline.upstream.scripted import ScriptedTarget
from landline.upstream.socket_settings import SocketSettings
from landline.upstream.target import Target
from landline.upstream.websocket import ResponsesSocketTarget

__all__ = [
    "HttpDeadlines",
    "HttpTarget",
    "ResponsesSocketTarget",
    "ScriptError",
    "ScriptedTarget",
    "SocketSettings",
    "Target",
    "open_session",
    "stream_request",
]
