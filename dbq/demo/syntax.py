"""A check that fails for good reason: the demo writes a file that is no Python."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from django.conf import settings

from dbq.demo import sources

if TYPE_CHECKING:
    from dbq.models import Job


def check(job: Job) -> None:
    """Parse the workspace's file below the demo's folder; raise its SyntaxError."""
    file = sources.find_below(settings.DEMO_FOLDER, job.workspace["path"])
    tree = ast.parse(file.read_bytes(), filename=str(file))
    job.workspace["statements"] = len(tree.body)
