"""What every view that acts does: act through dbq.operations, say what came of it, find the way back."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest
from django.shortcuts import resolve_url
from django.utils.http import url_has_allowed_host_and_scheme

from dbq import operations
from dbq.models import Operation


def act(request: HttpRequest, verb: str, target: Any = None, **options: Any) -> Operation:
    """Do and record one act of this request's operator, and tell them what came of it."""
    operation = operations.act(operations.Actor.from_user(request.user), verb, target, **options)
    refused = operation.state == Operation.State.REFUSED
    messages.add_message(request, messages.WARNING if refused else messages.SUCCESS, operation.message)
    return operation


def find_way_back(request: HttpRequest, default: str = "dbq:overview") -> str:
    """The page a form was on, if it is one of this host."""
    address = request.POST.get("next") or request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(
        address, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return address if is_ours else resolve_url(default)
