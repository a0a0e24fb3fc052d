"""What an operator fills in to act, the same on the dashboard and in the admin but for its looks."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dbq import masking, workspaces
from dbq.definitions import PRIORITY_LIMIT, QUEUE_NAME_MAX_LENGTH, QUEUE_NAME_RULE, is_queue_name
from dbq.exceptions import InvalidWorkspace
from dbq.models import Job
from dbq.operations import REASON_MAX_LENGTH
from dbq.verbs import get_short_name

# As typed; what is kept of it obeys DBQ["WORKSPACE_MAX_BYTES"].
TEXT_MAX_LENGTH = 4 * 1024 * 1024


class ReasonField(forms.CharField):
    """Why an operator does something; it may stay empty."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(
            label=_("Reason"),
            required=False,
            max_length=REASON_MAX_LENGTH,
            widget=forms.TextInput(attrs={"autocomplete": "off", **attributes}),
        )


def clean_queue_name(name: str) -> str:
    """Return the name if a queue can have it, or if it is empty."""
    if name and not is_queue_name(name):
        raise forms.ValidationError(f"{QUEUE_NAME_RULE.capitalize()}.")
    return name


class ActForm(forms.Form):
    """What every act on a job carries: the reason, and the job's version as the operator saw it."""

    reason = ReasonField()
    version = forms.IntegerField(widget=forms.HiddenInput, required=False, min_value=0, max_value=2**31 - 1)

    def __init__(self, job: Job, data: Any = None, **kwargs: Any) -> None:
        self.job = job
        kwargs["initial"] = {**self.find_initial(), **kwargs.get("initial", {})}
        super().__init__(data, **kwargs)

    def find_initial(self) -> dict[str, Any]:
        return {"version": self.job.version}

    def get_options(self) -> dict[str, Any]:
        """What the verb takes beside reason and version."""
        return {}


class ResumeForm(ActForm):
    """The task at which a finished job goes on."""

    task = forms.ChoiceField(label=_("Begin at the task"))

    field_order = ("task", "reason", "version")

    def __init__(self, job: Job, data: Any = None, **kwargs: Any) -> None:
        super().__init__(job, data, **kwargs)
        tasks = job.definition.tasks if job.definition else ()
        self.fields["task"].choices = [(task, get_short_name(task)) for task in tasks]  # type: ignore[attr-defined]

    def get_options(self) -> dict[str, Any]:
        return {"task": self.cleaned_data["task"]}


class RescheduleForm(ActForm):
    """The place and time of a waiting job; what is left as it was is not touched."""

    priority = forms.IntegerField(label=_("Priority"), min_value=-PRIORITY_LIMIT, max_value=PRIORITY_LIMIT)
    queue_name = forms.CharField(label=_("Queue"), max_length=QUEUE_NAME_MAX_LENGTH)
    # Each door has a widget of its own for it.
    run_after: forms.Field = forms.DateTimeField(label=_("Not before"), required=False)
    is_due_now = forms.BooleanField(label=_("Due now"), required=False)

    field_order = ("priority", "queue_name", "run_after", "is_due_now", "reason", "version")

    def find_initial(self) -> dict[str, Any]:
        names = ("version", "priority", "queue_name", "run_after")
        return {name: getattr(self.job, name) for name in names}

    def clean_queue_name(self) -> str:
        return clean_queue_name(self.cleaned_data["queue_name"])

    def get_options(self) -> dict[str, Any]:
        wanted: dict[str, Any] = {
            name: self.cleaned_data[name]
            for name in ("priority", "queue_name", "run_after")
            if name in self.changed_data and self.cleaned_data[name] is not None
        }
        return wanted | ({"run_after": timezone.now()} if self.cleaned_data["is_due_now"] else {})


class WorkspaceForm(ActForm):
    """The workspace as JSON, its secrets behind numbered placeholders that are put back afterwards."""

    text = forms.CharField(
        label=_("Workspace"),
        strip=False,
        max_length=TEXT_MAX_LENGTH,
        widget=forms.Textarea(
            attrs={"rows": 24, "spellcheck": "false", "autocomplete": "off", "wrap": "off"}
        ),
    )

    field_order = ("text", "reason", "version")
    workspace: dict | None = None

    def find_initial(self) -> dict[str, Any]:
        return {**super().find_initial(), "text": write_for_editing(self.job)}

    def clean_text(self) -> str:
        text = self.cleaned_data["text"]
        try:
            self.workspace = masking.restore(workspaces.parse(text), self.job.workspace)
            workspaces.serialize(self.workspace)
        except InvalidWorkspace as error:
            raise forms.ValidationError(str(error), code="invalid") from None
        return text

    def get_options(self) -> dict[str, Any]:
        return {"workspace": self.workspace}


def write_for_editing(job: Job) -> str:
    """The workspace as text, with a numbered placeholder for each secret."""
    return json.dumps(masking.hide_for_editing(job.workspace), indent=2, ensure_ascii=False)
