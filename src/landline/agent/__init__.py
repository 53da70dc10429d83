"""A small agent with local tools for any Responses server, and the numbers of each of its turns.

`landline agent` runs it; benchmarks and end-to-end tests drive it through `run_agent`.
"""

from landline.agent.connection import Endpoint
from landline.agent.folder_tools import LocalTool, ToolError
from landline.agent.loop import AgentSettings, CallReport, Reporter, RunResult, SilentReporter, TurnFigures, run_agent

__all__ = [
    "AgentSettings",
    "CallReport",
    "Endpoint",
    "LocalTool",
    "Reporter",
    "RunResult",
    "SilentReporter",
    "ToolError",
    "TurnFigures",
    "run_agent",
]
