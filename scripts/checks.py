"""Every check that does not run the code: style, types, layers, templates."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CODE = [name for name in ("dbq", "dashboard", "tests", "scripts", "benchmarks", "manage.py")
        if (ROOT / name).exists()]  # fmt: skip


def main() -> None:
    failed = run(fixes() if "--fix" in sys.argv[1:] else checks())
    sys.exit(f"Failed: {', '.join(failed)}." if failed else 0)


def fixes() -> dict[str, list[str]]:
    return {
        "ruff check --fix": module("ruff", "check", "--fix", *CODE),
        "ruff format": module("ruff", "format", *CODE),
    }


def checks() -> dict[str, list[str]]:
    checks = {
        "ruff check": module("ruff", "check", *CODE),
        "ruff format": module("ruff", "format", "--check", *CODE),
        "mypy": module("mypy"),
        "import-linter": [str(Path(sys.executable).with_name("lint-imports"))],
    }
    # djlint calls a folder without templates an error.
    if any(ROOT.glob("templates/**/*.html")):
        checks["djlint"] = module("djlint", "--lint", "templates")
    return checks


def run(commands: dict[str, list[str]]) -> list[str]:
    """Run all of them, whatever fails, and name those that did."""
    failed = []
    for name, command in commands.items():
        print(f"== {name}", flush=True)
        if subprocess.run(command, cwd=ROOT, env=environment()).returncode:
            failed.append(name)
    return failed


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]


def environment() -> dict[str, str]:
    # The types of models are read from a configured Django.
    return {"DJANGO_SECRET_KEY": "for checks only", **os.environ}


if __name__ == "__main__":
    main()
