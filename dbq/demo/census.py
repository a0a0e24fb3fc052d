"""A census of a source tree in three tasks: list its files, count what is in them, sum up."""

from __future__ import annotations

import ast
import builtins
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dbq.demo import sources

if TYPE_CHECKING:
    from dbq.models import Job

CHECKPOINT_FILES = 200
LARGEST = 10
MOST_USED = 15
# Of other names there are tens of thousands, too many for a workspace that is pleasant to read.
BUILT_IN = frozenset(dir(builtins))


def scan(job: Job) -> None:
    """List the files of the tree that the workspace names, and add up their sizes by package."""
    tree = job.workspace["tree"]
    files = sources.list_files(tree)
    packages: dict[str, dict[str, int]] = {}
    for path in files:
        package = packages.setdefault(_name_package(path), {"files": 0, "bytes": 0})
        package["files"] += 1
        package["bytes"] += sources.find_file(tree, path).stat().st_size
    job.workspace.update(files=files, packages=packages)


def parse(job: Job) -> None:
    """Count lines, functions, classes and names in every file, from the last checkpoint on."""
    workspace = job.workspace
    workspace.setdefault("parsed", 0)
    workspace.setdefault("totals", {"lines": 0, "functions": 0, "classes": 0, "names": 0})
    for key, empty in (("modules", []), ("names", {}), ("unparsable", [])):
        workspace.setdefault(key, empty)
    files = workspace["files"]
    for path in files[workspace["parsed"] :]:
        _parse_file(workspace, path)
        job.set_progress(workspace["parsed"], len(files), note=path)
        # A checkpoint is also where a cancelled job ends.
        if job.cancel_requested or workspace["parsed"] % CHECKPOINT_FILES == 0:
            job.checkpoint()


def report(job: Job) -> None:
    """Put the findings under "report" and drop the lists they were made from."""
    workspace = job.workspace
    files, modules, names = (workspace.pop(key) for key in ("files", "modules", "names"))
    workspace.pop("parsed")
    workspace["report"] = {
        "files": len(files),
        **workspace.pop("totals"),
        "largest": dict(sorted(modules, key=_by_count)[:LARGEST]),
        "most_used": dict(sorted(names.items(), key=_by_count)[:MOST_USED]),
        "unparsable": workspace.pop("unparsable"),
    }


def _name_package(path: str) -> str:
    return path.split("/")[0] if "/" in path else "(top level)"


def _by_count(entry: Any) -> tuple[int, str]:
    name, count = entry
    return -count, name


# One file


@dataclass
class Tally:
    """What one file holds."""

    lines: int
    functions: int
    classes: int
    names: Counter[str]


def count(source: bytes, path: str) -> Tally:
    """Count what the source holds; raise SyntaxError or ValueError if it is no Python."""
    kinds: Counter[type] = Counter()
    names: Counter[str] = Counter()
    for node in ast.walk(ast.parse(source, filename=path)):
        kinds[type(node)] += 1
        if isinstance(node, ast.Name):
            names[node.id] += 1
    return Tally(
        lines=len(source.splitlines()),
        functions=kinds[ast.FunctionDef] + kinds[ast.AsyncFunctionDef],
        classes=kinds[ast.ClassDef],
        names=names,
    )


def _parse_file(workspace: dict, path: str) -> None:
    try:
        tally = count(sources.find_file(workspace["tree"], path).read_bytes(), path)
    except (SyntaxError, ValueError):
        # The standard library keeps some on purpose, to test its own parsers with.
        workspace["unparsable"].append(path)
    else:
        _add(workspace, path, tally)
    workspace["parsed"] += 1


def _add(workspace: dict, path: str, tally: Tally) -> None:
    workspace["modules"].append([path, tally.lines])
    totals, names = workspace["totals"], workspace["names"]
    totals["lines"] += tally.lines
    totals["functions"] += tally.functions
    totals["classes"] += tally.classes
    totals["names"] += tally.names.total()
    for name in tally.names.keys() & BUILT_IN:
        names[name] = names.get(name, 0) + tally.names[name]
