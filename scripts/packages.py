"""The programs that no wheel carries, from Debian's packages."""

import os
import shutil
import subprocess
from pathlib import Path


def install(packages: list[str]) -> None:
    """Install these where that can be done without asking: as root on Debian, with leave to."""
    if packages and may_install():
        print(f"Installing {' and '.join(packages)} (DBQ_NO_APT=1 leaves them out).", flush=True)
        apt_get("update")
        apt_get("install", "--yes", "--no-install-recommends", *packages)


def may_install() -> bool:
    debian = Path("/etc/debian_version").exists() and shutil.which("apt-get")
    return bool(debian) and os.geteuid() == 0 and os.environ.get("DBQ_NO_APT") != "1"


def apt_get(*arguments: str) -> None:
    """Run apt-get; a failure is printed, and shows again as the program that is missing."""
    command = ["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=300", *arguments]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
    )
    if done.returncode:
        print(f"apt-get {arguments[0]} failed:\n{done.stdout[-2000:]}", flush=True)
