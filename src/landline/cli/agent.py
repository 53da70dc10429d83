"""`landline agent`: mounts the agent's own command."""

import typer

from landline.agent.command import agent_command


def make_agent() -> typer.Typer:
    """The agent as a command line of its own, called with what follows `landline agent`."""
    agent = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    agent.command()(agent_command)
    return agent
