"""The least that a Django project with one peer needs."""

import os
from urllib.parse import urlsplit

from benchmarks.peers.catalogue import PEERS, find_variant

_peer = PEERS[os.environ["BENCH_PEER"]]
_url = urlsplit(os.environ["DATABASE_URL"])

SECRET_KEY = "for benchmarks only"  # noqa: S105
USE_TZ = True
INSTALLED_APPS = list(_peer.applications)
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path[1:],
        "USER": _url.username,
        "HOST": _url.hostname,
        "PORT": _url.port,
    }
}
globals().update(find_variant(_peer, os.environ["BENCH_VARIANT"]).settings)
