"""A manifest that one job writes and another verifies, too early at first."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from dbq.demo import sources

if TYPE_CHECKING:
    from dbq.models import Job

FILE_NAME = "manifest.json"


def write(job: Job) -> None:
    """Write the SHA-256 of every file in the workspace's folder of the standard library."""
    folder = job.workspace["folder"]
    manifest = {path: _hash(path) for path in _list_files(folder)}
    if not manifest:
        raise LookupError(f'"{folder}" is no folder with Python files in the standard library.')
    _write_whole(_find_manifest(), json.dumps(manifest, indent=2))
    job.workspace["files"] = len(manifest)


def verify(job: Job) -> None:
    """Hash the manifest's files again; raise FileNotFoundError until there is a manifest."""
    manifest = json.loads(_find_manifest().read_text())
    changed = sorted(path for path, digest in manifest.items() if _hash(path) != digest)
    if changed:
        raise ValueError(f"{changed[0]} differs from {FILE_NAME}; changed files: {len(changed)}.")
    job.workspace.update(verified=len(manifest), attempt=job.attempt)


def _find_manifest() -> Path:
    return settings.DEMO_FOLDER / FILE_NAME


def _list_files(folder: str) -> list[str]:
    return [p for p in sources.list_files(sources.LIBRARY) if p.startswith(f"{folder}/")]


def _hash(path: str) -> str:
    return hashlib.sha256(sources.find_file(sources.LIBRARY, path).read_bytes()).hexdigest()


def _write_whole(file: Path, text: str) -> None:
    """Put the text in place at once: a reader finds all of it or no file."""
    draft = file.with_suffix(".draft")
    draft.write_text(text)
    draft.replace(file)
