"""The packages of Landline and the imports between them, read from the code. docs/architecture.md holds both; `make docs` renews
them, and a test compares them.
"""

import ast
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parent.parent

Imports = dict[str, set[str]]
"""Package → the packages that it imports, names without `landline.`."""


def package_table() -> str:
    """A row for each package and top-level module, highest first, each with the first sentence of its docstring."""
    imports = read_imports()
    rows = [
        f"| `{name}` | {_purpose(name)} |" for name in sorted(imports, key=lambda name: (-_height(name, imports), name))
    ]
    return "\n".join(["| package | what it owns |", "| --- | --- |", *rows])


def package_diagram() -> str:
    """A Mermaid graph of the imports. One that a chain of others implies is left out, or the arrows could not be followed."""
    imports = read_imports()
    arrows = [f"    {name} --> {below}" for name in sorted(imports) for below in sorted(_direct(name, imports))]
    pure = f"    class {','.join(_pure())} pure"
    return "\n".join(["flowchart TD", *arrows, "    classDef pure stroke-width:3px", pure])


def read_imports() -> Imports:
    """The imports between the packages and modules directly below `landline`."""
    graph = grimp.build_graph("landline", cache_dir=None)
    imports: Imports = {child.removeprefix("landline."): set() for child in graph.find_children("landline")}
    del imports["__main__"]
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            above, below = _top(module), _top(imported)
            if above in imports and below in imports and above != below:
                imports[above].add(below)
    return imports


def _pure() -> list[str]:
    """The packages that an import contract keeps from I/O."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    [sources] = [contract["source_modules"] for contract in contracts if contract["type"] == "forbidden"]
    return [source.removeprefix("landline.") for source in sources]


def _top(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def _direct(name: str, imports: Imports) -> set[str]:
    """What a package imports, without what its other imports reach."""
    return {
        each for each in imports[name] if not any(each in _reach(other, imports) for other in imports[name] - {each})
    }


def _reach(name: str, imports: Imports) -> set[str]:
    found: set[str] = set()
    waiting = list(imports[name])
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += imports[each]
    return found


def _height(name: str, imports: Imports) -> int:
    """How long the longest chain of imports below a package is. Imports go down only, so it ends."""
    return max((_height(below, imports) + 1 for below in imports[name]), default=0)


def _purpose(name: str) -> str:
    """The first sentence of the docstring."""
    place = ROOT / "src" / "landline" / name
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    return paragraph.partition(". ")[0].rstrip(".") + "."


if __name__ == "__main__":
    print(package_table(), package_diagram(), sep="\n\n")
