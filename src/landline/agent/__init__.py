"""A small agent with local tools that speaks to any Responses server; changes when what an agent shows or may do changes."""

from landline.agent.line import Endpoint
from landline.agent.loop import AgentSettings, run_agent
from landline.agent.report import CallReport, Reporter, RunResult, SilentReporter, TurnReport
from landline.agent.tools import Tool, ToolError

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
