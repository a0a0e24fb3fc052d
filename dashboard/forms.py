"""What operators type to pause a queue and to clean up."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from dashboard.looks import STATES
from dbq.forms import ReasonField
from dbq.states import FINISHED

MINUTES = (
    ("", _("When somebody resumes it")),
    ("15", _("In 15 minutes")),
    ("60", _("In 1 hour")),
    ("240", _("In 4 hours")),
    ("720", _("In 12 hours")),
    ("1440", _("In 24 hours")),
)


class ReasonForm(forms.Form):
    """Why an operator does something; kept in the record."""

    reason = ReasonField()


class PauseForm(ReasonForm):
    """Why a queue is paused, and when it goes on by itself."""

    minutes = forms.ChoiceField(label=_("Resumes"), choices=MINUTES, required=False)

    @property
    def until(self) -> datetime | None:
        minutes = self.cleaned_data["minutes"]
        return timezone.now() + timedelta(minutes=int(minutes)) if minutes else None


UNITS = {"hours": 1, "days": 24, "weeks": 168}
AGE_MAX_HOURS = 24 * 365 * 20


class CleanupForm(forms.Form):
    """Which finished jobs are old enough to go."""

    age = forms.IntegerField(label=_("Created more than"), min_value=1, initial=24, max_value=AGE_MAX_HOURS)
    unit = forms.ChoiceField(
        label=_("Unit"),
        choices=(("hours", _("hours ago")), ("days", _("days ago")), ("weeks", _("weeks ago"))),
        initial="hours",
    )
    state = forms.MultipleChoiceField(
        label=_("In the states"),
        choices=[(str(state), STATES[state].word) for state in FINISHED],
        initial=[str(state) for state in FINISHED],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Tick at least one state.")},
    )
    queue = forms.MultipleChoiceField(
        label=_("In the queues"), required=False, widget=forms.CheckboxSelectMultiple
    )

    def __init__(self, data: Any, queue_names: list[str]) -> None:
        super().__init__(data)
        self.queue_names = queue_names
        self.fields["queue"].choices = [(name, name) for name in queue_names]  # type: ignore[attr-defined]

    @property
    def queue_boxes(self) -> list[tuple[str, bool]]:
        """The queues and whether each is ticked: of hundreds, Django's own boxes take a page's time."""
        ticked = set(self["queue"].value() or ())
        return [(name, name in ticked) for name in self.queue_names]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        if "age" in cleaned and "unit" in cleaned:
            cleaned["hours"] = cleaned["age"] * UNITS[cleaned["unit"]]
            if cleaned["hours"] > AGE_MAX_HOURS:
                self.add_error("age", _("No job is that old."))
        return cleaned
