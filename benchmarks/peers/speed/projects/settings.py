"""The least that a Django project with one peer needs."""

import json
import os
from urllib.parse import urlsplit

from benchmarks.peers.speed.catalogue import CONTENDERS

_contender = CONTENDERS[os.environ["BENCH_PEER"]]
_pace = _contender.paces[os.environ["BENCH_PACE"]]
_url = urlsplit(os.environ["DATABASE_URL"])

if _url.scheme == "mysql":
    import pymysql

    pymysql.install_as_MySQLdb()

SECRET_KEY = "for benchmarks only"  # noqa: S105
USE_TZ = True
INSTALLED_APPS = list(_contender.applications)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        "ENGINE": f"django.db.backends.{_url.scheme}",
        "NAME": _url.path[1:],
        "USER": _url.username or "",
        "PASSWORD": _url.password or "",
        "HOST": _url.hostname or "",
        "PORT": _url.port or "",
        **_pace.database,
    }
}
if _url.scheme == "sqlite":
    DATABASES["default"] |= {
        "ENGINE": "django.db.backends.sqlite3",
        "OPTIONS": json.loads(os.environ["BENCH_SQLITE"]),
    }
globals().update(_pace.settings)
