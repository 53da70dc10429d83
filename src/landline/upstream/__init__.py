"""Bytes to and from targets; changes with transports and the ways they fail."""

from landline.upstream.http import HttpDeadlines, HttpTarget, open_session, stream_request
from landline.upstream.script import ScriptError
from landline.upstream.scripted import ScriptedTarget
from landline.upstream.target import Target

__all__ = ["HttpDeadlines", "HttpTarget", "ScriptError", "ScriptedTarget", "Target", "open_session", "stream_request"]
