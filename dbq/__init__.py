"""A database-backed, multi-step job queue for Django."""

__version__ = "0.1.0"
