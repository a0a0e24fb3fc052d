"""The virtual environments of the checkout: made by the standard library, filled by uv or pip."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Environment:
    """A virtual environment with the checkout installed, for one Python and one Django."""

    python_version: str | None = None
    django_version: str | None = None

    @property
    def directory(self) -> Path:
        versions = filter(None, (self.python_version, self.django_version))
        return ROOT / "-".join([".venv", *versions])

    @property
    def python(self) -> Path:
        return self.directory / "bin" / "python"

    @property
    def stamp(self) -> Path:
        return self.directory / "dbq-stamp.json"

    def ensure(self, extras: Iterable[str] = ()) -> None:
        """Make the environment and install what is missing; do nothing if it is complete."""
        key, installed = self.read_stamp()
        if key == self.key() and installed.issuperset(extras):
            return
        if ask(self.python, "import pip; print('yes')") is None:
            self.create(find_interpreter(self.python_version))
        # Together with what is there, so that two commands do not undo each other's versions.
        wanted = sorted(installed.union(extras))
        self.install(wanted)
        self.stamp.write_text(json.dumps({"key": self.key(), "extras": wanted}))

    def key(self) -> str:
        """Changes whenever what is installed may have to change."""
        versions = [version_of(self.python) or "", self.django_version or ""]
        wanted = (ROOT / "pyproject.toml").read_bytes()
        return hashlib.sha256("\n".join([str(ROOT), *versions]).encode() + wanted).hexdigest()

    def read_stamp(self) -> tuple[str, set[str]]:
        try:
            stamp = json.loads(self.stamp.read_text())
        except (FileNotFoundError, ValueError):
            return "", set()
        return stamp["key"], set(stamp["extras"])

    def create(self, interpreter: str) -> None:
        if ask(interpreter, "import ensurepip, venv; print('yes')") is None:
            sys.exit(
                f"{interpreter} cannot make virtual environments: it has no ensurepip.\n"
                "On Debian and Ubuntu: apt-get install python3-venv"
            )
        print(f"Making {self.directory.name} with {interpreter}.", flush=True)
        # What does not run is remade from nothing; what only lacks pip keeps its packages.
        clear = [] if version_of(self.python) else ["--clear"]
        subprocess.run([interpreter, "-m", "venv", *clear, self.directory], check=True)

    def install(self, extras: list[str]) -> None:
        suffix = f"[{','.join(extras)}]" if extras else ""
        requirements = ["--editable", f"{ROOT}{suffix}"]
        if self.django_version:
            requirements.append(f"django~={self.django_version}.0")
        print(f"Installing dbq-django{suffix} in {self.directory.name}.", flush=True)
        for installer in self.installers():
            if subprocess.run([*installer, *requirements], cwd=ROOT).returncode == 0:
                return
        sys.exit("The installation failed; the reason is above.")

    def installers(self) -> Iterator[list[str]]:
        """uv, which is faster, and pip, which knows mirrors and certificates that uv may not."""
        if uv := shutil.which("uv"):
            yield [uv, "pip", "install", "--quiet", "--python", str(self.python)]
        pip = [str(self.python), "-m", "pip", "install", "--disable-pip-version-check"]
        yield [*pip, "--no-input", "-qq"]  # twice quiet: errors, but not every warning


def find_interpreter(version: str | None) -> str:
    """The Python of that version, on PATH or under pyenv; without a version, the one running."""
    if version is None:
        return sys.executable
    for candidate in candidates(version):
        # Asked, because a pyenv shim exists for versions that are switched off.
        if version_of(candidate) == version:
            return candidate
    sys.exit(f"There is no Python {version}: no python{version} on PATH, none under pyenv.")


def candidates(version: str) -> Iterator[str]:
    yield sys.executable
    for directory in os.get_exec_path():
        if shutil.which(f"python{version}", path=directory):
            yield os.path.join(directory, f"python{version}")
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    yield from map(str, sorted(pyenv.glob(f"versions/{version}*/bin/python")))


def version_of(interpreter: str | Path) -> str | None:
    return ask(interpreter, "import sys; print('%d.%d' % sys.version_info[:2])")


def ask(interpreter: str | Path, code: str) -> str | None:
    """What that code prints there; None if it fails or there is no such interpreter."""
    try:
        asked = subprocess.run([interpreter, "-c", code], capture_output=True, text=True)
    except OSError:
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None
