"""A small agent with local tools that speaks to any Responses server; changes when what an agent shows or may do changes."""

from landline.agent.connection import Endpoint
from landline.agent.folder_tools import Tool, ToolError
from landline.agent.loop import AgentSettings, CallReport, Reporter, RunResult, SilentReporter, TurnReport, run_agent

__all__ = [
    "AgentSettings",
    "CallReport",
    "Endpoint",
    "Reporter",
    "RunResult",
    "SilentReporter",
    "Tool",
    "ToolError",
    "TurnReport",
    "run_agent",
]
