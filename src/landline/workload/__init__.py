"""An agent's task as sizes, filled with made-up text, and replayed against any Responses server through a shaped link.

`landline demo` shows it. Nothing here knows a terminal or what the figures are compared with.
"""

from landline.workload.link import LINES, LinkShape, ShapedLink
from landline.workload.replay import Replay, replay_task
from landline.workload.task import ModelPace, Task, make_task, model_s, recorded_profile, scripted_turns

__all__ = [
    "LINES",
    "LinkShape",
    "ModelPace",
    "Replay",
    "ShapedLink",
    "Task",
    "make_task",
    "model_s",
    "recorded_profile",
    "replay_task",
    "scripted_turns",
]
