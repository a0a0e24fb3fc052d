"""One file of a source tree, hashed or signed."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from dbq.demo import sources

if TYPE_CHECKING:
    from dbq.models import Job


def checksum(job: Job) -> None:
    """Put size and SHA-256 of the workspace's file into the workspace."""
    content = sources.find_file(sources.LIBRARY, job.workspace["path"]).read_bytes()
    job.workspace.update(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


def sign(job: Job) -> None:
    """Sign the workspace's file with the workspace's token, which the screens must not show."""
    content = sources.find_file(sources.LIBRARY, job.workspace["path"]).read_bytes()
    token = job.workspace["api_token"].encode()
    job.workspace["signed"] = hmac.new(token, content, "sha256").hexdigest()
