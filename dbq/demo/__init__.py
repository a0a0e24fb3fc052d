"""Sample jobs that do real work on this machine, for `manage.py demo`; not part of the wheel."""
