"""The operators' screens of dbq."""
