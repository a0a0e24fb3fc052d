"""The forms for acts on one job, as the dashboard shows them."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from dashboard.filters import MomentField
from dbq import forms
from dbq.models import Job


class ActForm(forms.ActForm):
    """An act that asks for nothing but the reason."""

    reason = forms.ReasonField(placeholder=_("for the record"))

    def __init__(self, job: Job, data: Any = None, **kwargs: Any) -> None:
        super().__init__(job, data, auto_id="act_%s", **kwargs)


class ResumeForm(ActForm, forms.ResumeForm):
    """The task at which the job goes on; the page has its effect beside each."""


class RescheduleForm(ActForm, forms.RescheduleForm):
    """The place and time of a waiting job, the time in the browser's own field."""

    run_after = MomentField(label=_("Not before"), required=False)


class WorkspaceForm(ActForm, forms.WorkspaceForm):
    """The workspace as JSON."""
