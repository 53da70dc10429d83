"""Writes the reference pages that are made from the code: the API, settings, errors, commands, packages. Run it by `make docs`.

tests/unit/test_docs.py fails when a page differs from what this makes, so the pages cannot lie.
"""

import ast
import inspect
import re
import textwrap
from pathlib import Path
from typing import Any, cast

import msgspec
import typer.main
from api_page import api_page, cell
from metrics_page import metrics_page
from package_diagram import package_diagram, package_table
from prices_page import prices_page
from profiles_page import profiles_page

from landline.agent.command import make_agent
from landline.cli import app
from landline.config.problems import expectation
from landline.config.settings import (
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    EmbeddedTargetSettings,
    GeminiTargetSettings,
    LedgerSettings,
    MetricsSettings,
    ModelSettings,
    MonitorSettings,
    PricesSettings,
    ResponsesTargetSettings,
    ScriptedTargetSettings,
    SealingSettings,
    ServerSettings,
    StoreSettings,
)
from landline.ledger.prices import LongPromptPrice, ModelPrice
from landline.session.limits import Limits
from landline.telemetry.settings import TelemetrySettings
from landline.turns.background import BackgroundSettings
from landline.turns.prefixes import PrefixSettings
from landline.upstream.socket_settings import SocketSettings
from landline.wire.errors import ERROR_RULES, ErrorRule

HERE = Path(__file__).resolve().parent
MADE = "<!-- Made from the code by `make docs`; edits are overwritten. -->\n"

SECTIONS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("[server]", ServerSettings),
    ("[limits]", Limits),
    ("[store]", StoreSettings),
    ("[sealing]", SealingSettings),
    ("[background]", BackgroundSettings),
    ("[prefixes]", PrefixSettings),
    ("[monitor]", MonitorSettings),
    ("[ledger]", LedgerSettings),
    ("[prices]", PricesSettings),
    ("[metrics]", MetricsSettings),
    ("[telemetry]", TelemetrySettings),
    ('[targets.NAME] with dialect = "embedded"', EmbeddedTargetSettings),
    ('[targets.NAME] with dialect = "chat_completions"', ChatCompletionsTargetSettings),
    ('[targets.NAME] with dialect = "responses"', ResponsesTargetSettings),
    ("[targets.NAME.socket]", SocketSettings),
    ('[targets.NAME] with dialect = "anthropic"', AnthropicTargetSettings),
    ('[targets.NAME] with dialect = "gemini"', GeminiTargetSettings),
    ('[targets.NAME] with dialect = "scripted"', ScriptedTargetSettings),
    ('[models."NAME"]', ModelSettings),
    ('[models."NAME".price]', ModelPrice),
    ('[models."NAME".price.long_prompt]', LongPromptPrice),
)


def pages() -> dict[str, str]:
    """Every made page: file name in this folder → text."""
    return {
        "api.md": MADE + "\n" + api_page(settings_table(Limits)),
        "configuration.md": configuration_page(),
        "errors.md": errors_page(),
        "commands.md": commands_page(),
        "profiles.md": MADE + "\n" + profiles_page(),
        "prices.md": MADE + "\n" + prices_page(),
        "metrics.md": MADE + "\n" + metrics_page(),
        "architecture.md": architecture_page(),
    }


def main() -> None:
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
        print(f"docs/{name}: {len(text.splitlines())} lines")


def architecture_page() -> str:
    """The page as it is, which is written by hand, with its two made parts renewed."""
    parts = {"packages": package_table(), "imports": f"```mermaid\n{package_diagram()}\n```"}
    text = (HERE / "architecture.md").read_text(encoding="utf-8")
    for name, part in parts.items():
        begin, end = f"<!-- {name}: made from the code by `make docs` -->\n", "<!-- end -->"
        text = re.sub(
            f"(?s){re.escape(begin)}.*?{end}", lambda _, made=f"{begin}\n{part}\n\n{end}": made, text, count=1
        )
    return text


def configuration_page() -> str:
    parts = [MADE, CONFIGURATION_INTRODUCTION]
    for title, cls in SECTIONS:
        parts.append(f"## `{title}`\n\n{inspect.getdoc(cls)}\n\n{settings_table(cls)}")
    return "\n".join(parts)


def settings_table(cls: type[msgspec.Struct]) -> str:
    texts = field_texts(cls)
    rows = ["| key | takes | default | meaning |", "| --- | --- | --- | --- |"]
    own = cls.__annotations__
    for field in sorted(msgspec.structs.fields(cls), key=lambda field: field.name not in own):
        meaning = cell(texts.get(field.name, ""))
        if not meaning:
            raise SystemExit(f"{cls.__name__}.{field.name} has no docstring")
        rows.append(f"| `{field.encode_name}` | {cell(expectation(field.type))} | {default_text(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def field_texts(cls: type[msgspec.Struct]) -> dict[str, str]:
    """The string below each field, of the class and of those it extends."""
    texts: dict[str, str] = {}
    for owner in reversed(cls.__mro__):
        if owner in (msgspec.Struct, object) or owner.__module__.startswith("msgspec"):
            continue
        (tree,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(tree, ast.ClassDef)
        for above, below in zip(tree.body, tree.body[1:], strict=False):
            if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name):
                match below:
                    case ast.Expr(value=ast.Constant(value=str(text))):
                        texts[above.target.id] = inspect.cleandoc(text)
                    case _:
                        pass
    return texts


def default_text(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value: Any = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    match value:
        case None:
            return "none"
        case bool():
            return f"`{str(value).lower()}`"
        case list() | tuple():
            return f"`[{', '.join(toml_string(str(entry)) for entry in cast('list[object]', value))}]`"
        case str():
            return f"`{toml_string(value)}`"
        case msgspec.Struct():
            return "as below"
        case _:
            return f"`{value}`"


def toml_string(text: str) -> str:
    return f'"{text}"'


def errors_page() -> str:
    parts = [
        MADE,
        ERRORS_INTRODUCTION,
        "| code | type | status | close | what to do | meaning |",
        "| --- |" + " --- |" * 5,
    ]
    parts += [error_row(rule) for rule in ERROR_RULES.values()]
    return "\n".join(parts) + "\n"


def error_row(rule: ErrorRule) -> str:
    close = str(rule.close) if rule.close is not None else "-"
    cells = (f"`{rule.code}`", f"`{rule.type}`", str(rule.status), close, ADVICE[rule.retry], cell(rule.meaning))
    return f"| {' | '.join(cells)} |"


def commands_page() -> str:
    parts = [MADE, COMMANDS_INTRODUCTION]
    add_command(parts, "landline", typer.main.get_command(app))
    return "\n".join(parts)


def add_command(parts: list[str], name: str, command: Any) -> None:
    """One section for a command, then one for each command below it."""
    parts.append(f"## `{name}`\n\n{inspect.cleandoc(command.help or '')}\n")
    rows = [parameter_row(parameter) for parameter in command.params if parameter.name != "help"]
    if rows:
        parts.append(
            "\n".join(["| parameter | default | environment | meaning |", "| --- | --- | --- | --- |", *rows]) + "\n"
        )
    for below, sub_command in getattr(command, "commands", {}).items():
        found = typer.main.get_command(make_agent()) if (name, below) == ("landline", "agent") else sub_command
        add_command(parts, f"{name} {below}", found)


def parameter_row(parameter: Any) -> str:
    spelled = ", ".join(f"`{option}`" for option in parameter.opts)
    if parameter.param_type_name == "argument":
        spelled = f"`{parameter.name.upper()}`"
    default = (
        "required" if parameter.required else "-" if parameter.default in (None, False) else f"`{parameter.default}`"
    )
    variable = f"`{parameter.envvar}`" if parameter.envvar else "-"
    return f"| {spelled} | {default} | {variable} | {cell(parameter.help or '')} |"


CONFIGURATION_INTRODUCTION = """# Configuration

`landline serve` needs no configuration. With `--config FILE`, or `LANDLINE_CONFIG` in the environment, it reads a TOML
file like this one; `landline check FILE` prints all mistakes of a file.

```toml
[server]
host = "127.0.0.1"
port = 8080

[targets.one]
dialect = "chat_completions"            # embedded | chat_completions | responses | anthropic | gemini | scripted
base_url = "http://127.0.0.1:8000/v1"
api_key_env = "ONE_KEY"                 # optional: the variable, never the key

[targets.two]
profile = "vllm"                        # a vendor or server of profiles.md gives what is left out
base_url = "http://127.0.0.1:8001/v1"

[models."demo"]                         # the name clients ask for; "*" catches the rest
targets = ["one", "two:name-upstream"]  # a pool: each a target, or "target:name-upstream"
weights = [2, 1]                        # optional
```

`landline check FILE` also shows the settings that each target got from its profile, and `landline check FILE --live` sends real requests
to every target.

The environment overrides the file, and the command line overrides both: `LANDLINE_HOST` and `--host` for `server.host`,
`LANDLINE_PORT` and `--port` for `server.port`. `LANDLINE_CACHE_DIR` is the folder for downloaded models,
`LANDLINE_DATA_DIR` the folder for stored responses if `[store]` sets no URL, and for the key if `[sealing]` sets none.
Paths in a file are relative to the folder of the file.

An invalid setting stops the start; the message names the path of the key, what was expected and what was found.
"""

ERRORS_INTRODUCTION = """# Errors

Every error that a client can get. Over HTTP it is the status with the body
`{"error": {"message", "type", "param", "code"}}`; over a socket it is a frame
`{"type": "error", "status", "error": {…}}`, and the socket stays open unless a close code is given. A request whose
response was already announced ends with `response.failed` instead, which carries `code` and `message`.
"""

ADVICE = {
    "never": "retrying does not help",
    "after": "retry later: after `retry-after` where it is given",
    "resend": "send the whole history at once",
    "reconnect": "open a new socket and send the whole history",
}

COMMANDS_INTRODUCTION = """# Commands

`--help` shows the same for each command.
"""

if __name__ == "__main__":
    main()
