"""run_jobs, as a host project's tests use it: within TestCase, on their own connection."""

from datetime import timedelta

import pytest
from django.core import mail
from django.db import connection
from django.test import TestCase
from django.utils import timezone

from dbq.models import Job, Queue, Worker
from dbq.states import State
from dbq.testing import run_jobs
from tests import jobs


def send_mail(job):
    mail.send_mail("Welcome", "", None, [job.workspace["to"]])


class RunJobsTests(TestCase):
    def setUp(self):
        jobs.ran.clear()

    def test_due_jobs_run_within_the_tests_own_transaction(self):
        with self.settings(JOBS={"welcome": ["tests.dbq.test_testing.send_mail"]}):
            job = Job.objects.create(name="welcome", workspace={"to": "ada@example.org"})

            self.assertEqual(run_jobs(), 1)

        self.assertEqual(mail.outbox[0].to, ["ada@example.org"])
        self.assertEqual(Job.objects.get(pk=job.pk).state, State.COMPLETED)
        self.assertTrue(connection.in_atomic_block, "The test's transaction goes on.")

    def test_every_task_counts(self):
        Job.objects.create(name="two")

        self.assertEqual(run_jobs(), 2)
        self.assertEqual([task for _, task in jobs.ran], ["succeed", "succeed_again"])

    def test_jobs_that_jobs_create_run_too(self):
        Job.objects.create(name="create_another")

        self.assertEqual(run_jobs(), 2)
        self.assertFalse(Job.objects.waiting().exists())

    def test_nothing_to_run_is_nothing(self):
        self.assertEqual(run_jobs(), 0)

    def test_a_failing_task_fails_its_job_and_raises_nothing(self):
        job = Job.objects.create(name="fail")
        other = Job.objects.create(name="succeed")

        self.assertEqual(run_jobs(), 2)

        job.refresh_from_db()
        self.assertEqual((job.state, job.error_type), (State.FAILED, "ValueError"))
        self.assertEqual(Job.objects.get(pk=other.pk).state, State.COMPLETED)

    def test_a_failing_task_with_attempts_left_waits(self):
        job = Job.objects.create(name="fail_for_ever")

        self.assertEqual(run_jobs(), 1)
        self.assertEqual(Job.objects.get(pk=job.pk).state, State.READY)

    def test_jobs_scheduled_for_later_stay(self):
        job = Job.objects.create(name="succeed", run_after=timezone.now() + timedelta(hours=1))

        self.assertEqual(run_jobs(), 0)
        self.assertEqual(Job.objects.get(pk=job.pk).state, State.NEW)

    def test_jobs_whose_time_has_come_run(self):
        job = Job.objects.create(name="succeed", run_after=timezone.now() + timedelta(hours=1))
        Job.objects.update(run_after=timezone.now() - timedelta(seconds=5))

        self.assertEqual(run_jobs(), 1)
        self.assertEqual(Job.objects.get(pk=job.pk).state, State.COMPLETED)

    def test_only_the_named_queues_are_served(self):
        job = Job.objects.create(name="succeed", queue_name="mail")

        self.assertEqual(run_jobs(), 0)
        self.assertEqual(run_jobs(["mail", "reports"]), 1)
        self.assertEqual(Job.objects.get(pk=job.pk).state, State.COMPLETED)

    def test_a_paused_queue_is_not_served_and_the_call_returns(self):
        job = Job.objects.create(name="succeed")
        Queue(name="default").pause()

        self.assertEqual(run_jobs(), 0)
        self.assertEqual(Job.objects.get(pk=job.pk).state, State.NEW)

    def test_checkpoints_work(self):
        job = Job.objects.create(name="save_and_fail")

        run_jobs()

        self.assertEqual(Job.objects.get(pk=job.pk).workspace, {"saved": True})

    def test_no_worker_is_left_behind(self):
        Job.objects.create(name="succeed")

        run_jobs()

        self.assertFalse(Worker.objects.exists())


@pytest.mark.django_db(transaction=True)
def test_without_an_outer_transaction_a_task_that_leaves_one_open_fails():
    job = Job.objects.create(name="leave_a_transaction_open")

    assert run_jobs() == 1

    assert Job.objects.get(pk=job.pk).error_type == "dbq.exceptions.TransactionLeftOpen"
