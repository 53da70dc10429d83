"""Local tools as values: what the model is told about each, and the function that runs it."""

from collections.abc import Callable, Mapping

import msgspec


class ToolError(Exception):
    """A tool cannot do what was asked; its message is told to the model, which may ask better."""


class Tool(msgspec.Struct, frozen=True):
    """One function tool. `run` gets the call's arguments as JSON text and returns what the model will read.

    `run` may raise `ToolError`, or msgspec.DecodeError for arguments that do not fit; it is called in a worker thread.
    """

    name: str
    description: str
    parameters: Mapping[str, object]
    """JSON Schema of the arguments; small models read every word of it, so keep it short."""
    run: Callable[[str], str]


class ToolOutput(msgspec.Struct, frozen=True):
    """What one call gave."""

    text: str
    is_error: bool = False


def run_tool(tools: Mapping[str, Tool], name: str, arguments: str) -> ToolOutput:
    """Runs one call; an unknown tool, malformed arguments and a refusal come back as an error for the model to read."""
    tool = tools.get(name)
    if tool is None:
        return ToolOutput(f"error: no tool {name[:64]!r}; there are: {', '.join(sorted(tools))}", is_error=True)
    try:
        return ToolOutput(tool.run(arguments or "{}"))
    except msgspec.DecodeError as error:
        return ToolOutput(f"error: malformed arguments: {error}", is_error=True)
    except ToolError as error:
        return ToolOutput(f"error: {error}", is_error=True)


def encode_tools(tools: Mapping[str, Tool]) -> bytes:
    """The `tools` array of a request. `strict` is off: strict mode asks for every property to be required."""
    return msgspec.json.encode(
        [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
                "strict": False,
            }
            for tool in tools.values()
        ]
    )
