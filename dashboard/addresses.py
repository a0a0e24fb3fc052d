"""How a page names a job: by the end of its id, and by an address.

A page has many addresses of one route: it is looked up once, and not for every row.
"""

from functools import lru_cache
from urllib.parse import quote
from uuid import UUID

from django.conf import settings
from django.urls import get_script_prefix, get_urlconf, reverse
from django.utils.http import RFC3986_SUBDELIMS

# What stands where a route has its value, to be found again and replaced.
_ANY_ID = UUID(int=0)
_ANY_TEXT = "~any~"


def shorten_id(pk: object) -> str:
    """The last eight digits of an id: the first ones only tell the time."""
    return str(pk)[-8:]


def find_address(name: str) -> str:
    """The address of a route that takes no value."""
    return _find_address(name, get_urlconf() or settings.ROOT_URLCONF, get_script_prefix())


def write_job_address(pk: UUID) -> str:
    """The address of a job's page."""
    return write_address("dbq:job-detail", pk)


def write_address(name: str, value: UUID | str) -> str:
    """The address of a route that takes one value; raises NoReverseMatch if it does not take this one."""
    if not value or "/" in str(value):
        return reverse(name, args=[value])
    any_value = _ANY_ID if isinstance(value, UUID) else _ANY_TEXT
    urlconf = get_urlconf() or settings.ROOT_URLCONF
    before, after = _split_address(name, any_value, urlconf, get_script_prefix())
    # As Django quotes it.
    return f"{before}{quote(str(value), safe=RFC3986_SUBDELIMS + '~:@')}{after}"


@lru_cache(maxsize=64)
def _find_address(name: str, urlconf: str, prefix: str) -> str:
    return reverse(name)


@lru_cache(maxsize=64)
def _split_address(name: str, any_value: UUID | str, urlconf: str, prefix: str) -> tuple[str, str]:
    before, _, after = reverse(name, args=[any_value]).rpartition(str(any_value))
    return before, after
