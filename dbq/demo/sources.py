"""The source trees the sample jobs read: the standard library and installed packages."""

import os
import sysconfig
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

LIBRARY = "stdlib"
NOT_OF_THE_TREE = {"site-packages", "dist-packages", "__pycache__"}


def list_files(tree: str) -> list[str]:
    """The tree's Python files, as sorted paths below its root."""
    root = find_root(tree)
    if root.is_file():
        return [root.name]
    return sorted(path.relative_to(root).as_posix() for path in _walk(root))


def find_file(tree: str, path: str) -> Path:
    """The file at that path in the tree; raise LookupError for a path that leads out of it."""
    root = find_root(tree)
    return find_below(root.parent if root.is_file() else root, path)


def find_below(folder: Path, path: str) -> Path:
    """The file at that path in the folder; raise LookupError for a path that leads out of it."""
    # By its text alone: distributions link some files of the library to other places.
    file = Path(os.path.normpath(folder / path))
    if not file.is_relative_to(folder):
        raise LookupError(f'"{path}" leads out of {folder}; a job reads only below that folder.')
    return file


def find_root(tree: str) -> Path:
    """The folder of a tree, or the file of a package that is a single module."""
    if tree == LIBRARY:
        return Path(sysconfig.get_paths()["stdlib"])
    spec = find_spec(tree) if tree.isidentifier() else None
    if spec is None or not spec.has_location or spec.origin is None:
        raise LookupError(
            f'"{tree}" is no source tree here: it must be "{LIBRARY}" or the name of an installed'
            " top-level package."
        )
    origin = Path(spec.origin)
    return origin.parent if spec.submodule_search_locations else origin


def is_installed(package: str) -> bool:
    """Whether the package's source can be read here."""
    try:
        return find_root(package).exists()
    except LookupError:
        return False


def _walk(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if name not in NOT_OF_THE_TREE]
        for name in names:
            file = Path(folder, name)
            if file.suffix == ".py" and file.is_file():
                yield file
