"""Makes profiles.md: what each profile gives a target, from the rows in `landline.dialects.profiles`."""

from collections.abc import Iterator, Mapping
from typing import cast

import msgspec

from landline.dialects.profiles import PROFILES, Profile, VendorApi


def profiles_page() -> str:
    """The page: an introduction, a table of all profiles, and a section each."""
    head = ["| profile | vendor | dialects, the first by default | key |", "| --- | --- | --- | --- |"]
    sections = [_section(name, profile) for name, profile in PROFILES.items()]
    return "\n".join([INTRODUCTION, *head, *map(_row, PROFILES.items()), "", *sections])


def _row(entry: tuple[str, Profile]) -> str:
    name, profile = entry
    dialects = ", ".join(_spoken(api) for api in profile.apis)
    return f"| [`{name}`](#{name}) | {profile.vendor} | {dialects} | {_keys(profile)} |"


def _spoken(api: VendorApi) -> str:
    transport = f" ({api.settings['transport']})" if "transport" in api.settings else ""
    return f"`{api.dialect}`{transport}"


def _keys(profile: Profile) -> str:
    names = " or ".join(f"`{name}`" for name in profile.key_envs)
    if not names:
        return "none"
    return names if profile.needs_key else f"{names}, if it requires one"


def _section(name: str, profile: Profile) -> str:
    lines = [f"## {name}\n"]
    if profile.note:
        lines.append(f"{profile.note}\n")
    for api in profile.apis:
        lines.append("```toml")
        lines.extend(_toml(profile, api))
        lines.append("```\n")
    lines.append(f"Source: {profile.source}.\n")
    return "\n".join(lines)


def _toml(profile: Profile, api: VendorApi) -> Iterator[str]:
    yield f'dialect = "{api.dialect}"'
    yield f'base_url = "{api.base_url}"' if api.base_url is not None else f'base_url = "{profile.url_example}"  # yours'
    for key, value in api.settings.items():
        yield f"{key} = {_toml_value(value)}"


def _toml_value(value: object) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_toml_value(inner)}' for key, inner in cast('Mapping[str, object]', value).items())} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, cast('list[object]', value)))}]"
    return msgspec.json.encode(value).decode()


INTRODUCTION = """# Profiles

A profile holds the settings of a vendor or server: `profile = "groq"` sets its dialect, its URL, the conventional environment
variable of its key, and the flags that differ from the defaults. Settings in the file override the profile; `dialect` selects
another API of the same vendor, where there is one.

```toml
[targets.fast]
profile = "groq"                # that is all, with GROQ_API_KEY exported

[targets.elsewhere]
profile = "vllm"
base_url = "http://gpu-7:8000/v1"
warm_up = "skip"
```

A key from the conventional variable is sent to the vendor's own URL only; with another `base_url`, name the variable in
`api_key_env`. For servers that you run yourself, the URL is their default address. `landline check FILE` shows the resulting
settings of each target, and `landline check FILE --live` whether they work. The rows are
[data](../src/landline/dialects/profiles.py); flags are explained in [configuration.md](configuration.md).
"""
