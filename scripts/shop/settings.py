"""The stand-alone project's settings with the shop's jobs, on the database that DATABASE_URL names."""

import os

os.environ.setdefault("DJANGO_SECRET_KEY", "for screenshots only")

from dbq.settings import *  # noqa: F403
from shop.jobs import JOBS as JOBS
