"""The job definitions of the demo, for settings.JOBS."""

JOBS = {
    "census": {
        "tasks": [
            "dbq.demo.census.scan",
            "dbq.demo.census.parse",
            "dbq.demo.census.report",
        ],
        "timeout": 900,
    },
    "checksum": {"tasks": ["dbq.demo.checksums.checksum"], "priority": -10},
    "sign": ["dbq.demo.checksums.sign"],
    "check_syntax": ["dbq.demo.syntax.check"],
    "write_manifest": ["dbq.demo.manifest.write"],
    "verify_manifest": {
        "tasks": ["dbq.demo.manifest.verify"],
        "max_attempts": 5,
        "backoff": 2,
    },
    "measure_imports": {"tasks": ["dbq.demo.imports.measure"], "timeout": 60},
}
