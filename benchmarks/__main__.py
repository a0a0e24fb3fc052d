"""Choose what to measure: one of MEASURES, `peers` if none is named; other arguments are passed on."""

import sys
from importlib import import_module

# Puts the scripts on the path, which the others import.
import benchmarks.engine  # noqa: F401

MEASURES = {
    name: f"benchmarks.{name}"
    for name in ("engine", "console", "crashes", "cleanup", "export", "viewers", "growth", "fairness")
} | {"peers": "benchmarks.throughput.command"}

chosen = sys.argv.pop(1) if sys.argv[1:2] and sys.argv[1] in MEASURES else "peers"
import_module(MEASURES[chosen]).main()
