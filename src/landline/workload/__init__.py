"""An agent's task as sizes, filled with made-up text, and replayed against any Responses server through a shaped link.

`landline demo` shows it, `landline bench agent` measures it. Nothing here knows a terminal or what the figures are compared with.
"""

from landline.workload.lanes import open_lanes
from landline.workload.link import LINES, LinkShape, ShapedLink, shape_of
from landline.workload.profiles import PROFILES, profile_named
from landline.workload.replay import Replay, replay_on, replay_task
from landline.workload.task import ModelPace, Task, make_task, model_s, recorded_profile, scripted_turns

__all__ = [
    "LINES",
    "PROFILES",
    "LinkShape",
    "ModelPace",
    "Replay",
    "ShapedLink",
    "Task",
    "make_task",
    "model_s",
    "open_lanes",
    "profile_named",
    "recorded_profile",
    "replay_on",
    "replay_task",
    "scripted_turns",
    "shape_of",
]
