"""Bytes to and from targets; changes with transports and the ways they fail."""

from landline.upstream.http import HttpTarget
from landline.upstream.http_reply import HttpDeadlines, HttpReply, HttpServer, open_session
from landline.upstream.script import ScriptError
from landline.upstream.scripted import ScriptedTarget
from landline.upstream.socket_settings import SocketSettings
from landline.upstream.target import Reply, Target, Traffic
from landline.upstream.websocket import ResponsesSocketTarget

__all__ = [
    "HttpDeadlines",
    "HttpReply",
    "HttpServer",
    "HttpTarget",
    "Reply",
    "ResponsesSocketTarget",
    "ScriptError",
    "ScriptedTarget",
    "SocketSettings",
    "Target",
    "Traffic",
    "open_session",
]
