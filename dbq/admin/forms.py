"""What the admin asks for before it acts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib.admin.widgets import AdminSplitDateTime
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dbq import forms as shared
from dbq import workspaces
from dbq.definitions import PRIORITY_LIMIT, get_definitions
from dbq.exceptions import InvalidWorkspace
from dbq.forms import clean_queue_name
from dbq.models import Job, Queue
from dbq.states import FINISHED, State

HOURS_MAX = 24 * 366 * 100


class DateAndTime(AdminSplitDateTime):
    """The admin's two fields, each with a name, which theirs lack."""

    def __init__(self, attrs: Any = None) -> None:
        super().__init__(attrs)
        for widget, name in zip(self.widgets, (_("Date"), _("Time")), strict=True):
            widget.attrs["aria-label"] = name


def make_reason_field() -> shared.ReasonField:
    field = shared.ReasonField(**{"class": "vTextField"})
    field.help_text = _("Kept with the record of the act.")
    return field


class NewJobForm(forms.ModelForm):
    """A job to be created: its name is one that settings.JOBS has."""

    name = forms.ChoiceField(label=_("Name"))
    workspace = forms.CharField(
        label=_("Workspace"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 12, "cols": 80, "class": "vLargeTextField"}),
        help_text=_("A JSON object; empty for {}."),
    )
    queue_name = forms.CharField(
        label=_("Queue"), required=False, help_text=_("Empty for the queue of the definition.")
    )
    priority = forms.IntegerField(
        label=_("Priority"),
        required=False,
        min_value=-PRIORITY_LIMIT,
        max_value=PRIORITY_LIMIT,
        help_text=_("Higher runs first; empty for the priority of the definition."),
    )
    run_after = forms.SplitDateTimeField(label=_("Not before"), required=False, widget=DateAndTime)

    # Set by the admin when the creation itself was refused, to be shown over the form.
    refusal = ""

    class Meta:
        model = Job
        fields = ("name", "workspace", "queue_name", "priority", "run_after", "unique_key")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = [(name, name) for name in sorted(get_definitions())]
        self.fields["name"].choices = names  # type: ignore[attr-defined]
        self.fields["unique_key"].required = False

    def clean_workspace(self) -> dict:
        text = self.cleaned_data["workspace"].strip()
        try:
            return workspaces.parse(text) if text else {}
        except InvalidWorkspace as error:
            raise forms.ValidationError(str(error)) from None

    def clean_queue_name(self) -> str:
        return clean_queue_name(self.cleaned_data["queue_name"])

    def clean_unique_key(self) -> str | None:
        return self.cleaned_data["unique_key"] or None

    def clean(self) -> dict[str, Any] | None:
        if self.refusal:
            raise forms.ValidationError(self.refusal)
        return super().clean()


class ActForm(shared.ActForm):
    """An act that asks for nothing but the reason."""

    reason = make_reason_field()

    def __init__(self, job: Job, data: Any = None, **kwargs: Any) -> None:
        super().__init__(job, data, **kwargs)
        self.fields["version"].required = True


class ResumeForm(ActForm, shared.ResumeForm):
    """The task at which the job goes on."""


class RescheduleForm(ActForm, shared.RescheduleForm):
    """The place and time of a waiting job, the time in the admin's two fields."""

    run_after = forms.SplitDateTimeField(label=_("Not before"), required=False, widget=DateAndTime)


class WorkspaceForm(ActForm, shared.WorkspaceForm):
    """The workspace as JSON."""

    def __init__(self, job: Job, data: Any = None, **kwargs: Any) -> None:
        super().__init__(job, data, **kwargs)
        field = self.fields["text"]
        field.widget.attrs |= {"cols": 80, "class": "vLargeTextField"}
        field.help_text = _("Leave a masked value as it is to keep it, or put another in its place.")


ACT_FORMS: dict[str, type[ActForm]] = {
    "resume_from": ResumeForm,
    "reschedule": RescheduleForm,
    "edit_workspace": WorkspaceForm,
}


class CleanupForm(forms.Form):
    """Which finished jobs are old."""

    hours = forms.FloatField(
        label=_("Older than so many hours"), min_value=0, max_value=HOURS_MAX, initial=24
    )
    queue_name = forms.CharField(label=_("Queue"), required=False, help_text=_("Empty for all queues."))
    states = forms.MultipleChoiceField(
        label=_("States"),
        choices=[(state.value, state.label) for state in FINISHED],
        initial=[state.value for state in FINISHED],
        widget=forms.CheckboxSelectMultiple,
    )

    def clean_queue_name(self) -> str:
        return clean_queue_name(self.cleaned_data["queue_name"])

    def get_states(self) -> list[State]:
        return [State(state) for state in self.cleaned_data["states"]]


class PauseForm(forms.ModelForm):
    """A queue to be paused: why, and until when."""

    name = forms.CharField(label=_("Queue"))
    minutes = forms.IntegerField(
        label=_("Minutes"),
        required=False,
        min_value=1,
        max_value=366 * 24 * 60,
        help_text=_("Resumes by itself after so many; empty to wait for somebody."),
    )
    refusal = ""

    class Meta:
        model = Queue
        fields = ("name",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["reason"] = make_reason_field()

    def clean_name(self) -> str:
        return clean_queue_name(self.cleaned_data["name"])

    def clean(self) -> dict[str, Any] | None:
        if self.refusal:
            raise forms.ValidationError(self.refusal)
        return super().clean()

    def validate_unique(self) -> None:
        """A queue that has a row already can be paused again."""

    @property
    def until(self) -> datetime | None:
        minutes = self.cleaned_data.get("minutes")
        return timezone.now() + timedelta(minutes=minutes) if minutes else None
