"""From a file, the environment and the command line to settings that agree with each other."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec.structs import replace

from landline.config.checks import check_config
from landline.config.problems import Problem
from landline.config.profiling import find_key
from landline.config.reading import read_config
from landline.config.settings import (
    SQLITE_PREFIX,
    AnthropicTargetSettings,
    ChatCompletionsTargetSettings,
    Config,
    EmbeddedTargetSettings,
    GeminiTargetSettings,
    ModelSettings,
    ResponsesTargetSettings,
    ScriptedTargetSettings,
    StoreSettings,
    TargetSettings,
)


class Overrides(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line (or `LANDLINE_HOST`, `LANDLINE_PORT`) puts in place of the file's settings."""

    host: str | None = None
    port: int | None = None


def load_config(
    path: Path, environment: Mapping[str, str], overrides: Overrides | None = None
) -> Config | list[Problem]:
    """The settings of a file, complete and checked, with its paths made absolute; or everything wrong with it.

    `environment` is asked for the keys that targets name by `api_key_env`, or that their profiles know.
    """
    table = _parse(path)
    return [table] if isinstance(table, Problem) else settle_table(table, environment, overrides, folder=path.parent)


def settle_table(
    table: Mapping[str, object],
    environment: Mapping[str, str],
    overrides: Overrides | None = None,
    *,
    folder: Path | None = None,
) -> Config | list[Problem]:
    """The same for a table that no file holds; without a `folder`, its paths are relative to the working directory."""
    reading = read_config(table)
    config = _resolve_paths(_find_keys(_override(reading.config, overrides), environment), folder or Path())
    found = check_config(config, environment, unread=reading.unread)
    return [*reading.problems, *(each for each in found if not reading.explains(each))] or config


def default_config(
    embedded: EmbeddedTargetSettings, model_name: str, overrides: Overrides | None = None
) -> Config | list[Problem]:
    """What `landline serve` uses without a file: one embedded model, under its own name and no other, so that nobody takes
    its answers for those of the model that they asked for."""
    config = Config(
        targets={"embedded": embedded},
        models={model_name: ModelSettings(targets=["embedded"])},
    )
    config = _override(config, overrides)
    return check_config(config, {}) or config


def _parse(path: Path) -> dict[str, object] | Problem:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        return Problem("", f"cannot read {str(path)!r}: {error.strerror}")
    except UnicodeDecodeError as error:
        return Problem("", f"not UTF-8 text: {error.reason} at byte {error.start}")
    except tomllib.TOMLDecodeError as error:
        return Problem("", f"not TOML: {error}")


def _override(config: Config, overrides: Overrides | None) -> Config:
    if overrides is None:
        return config
    changes = {name: value for name, value in msgspec.structs.asdict(overrides).items() if value is not None}
    return replace(config, server=replace(config.server, **changes)) if changes else config


def _find_keys(config: Config, environment: Mapping[str, str]) -> Config:
    targets = {name: find_key(target, environment) for name, target in config.targets.items()}
    return replace(config, targets=targets)


def _resolve_paths(config: Config, folder: Path) -> Config:
    """The configuration with paths taken relative to the file's folder, so that the working directory does not matter."""
    targets = {name: _resolve(target, folder) for name, target in config.targets.items()}
    prices = config.prices
    if prices.file is not None:
        prices = replace(prices, file=_absolute(folder, prices.file))
    return replace(config, targets=targets, store=_resolve_store(config.store, folder), prices=prices)


def _resolve(target: TargetSettings, folder: Path) -> TargetSettings:
    match target:
        case EmbeddedTargetSettings():
            names = ("gguf", "mmproj", "chat_template", "park_dir")
        case ScriptedTargetSettings():
            names = ("transcript",)
        case (
            ChatCompletionsTargetSettings()
            | AnthropicTargetSettings()
            | GeminiTargetSettings()
            | ResponsesTargetSettings()
        ):
            return target
    given = {name: getattr(target, name) for name in names}
    return replace(target, **{name: _absolute(folder, path) for name, path in given.items() if path is not None})


def _resolve_store(store: StoreSettings, folder: Path) -> StoreSettings:
    path = store.url.removeprefix(SQLITE_PREFIX) if store.url is not None else ""
    if not path or path == store.url:
        return store
    return replace(store, url=SQLITE_PREFIX + _absolute(folder, path))


def _absolute(folder: Path, path: str) -> str:
    return str((folder / Path(path).expanduser()).resolve())
