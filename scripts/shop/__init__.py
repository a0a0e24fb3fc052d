"""A web shop that never was: the project whose queue the screenshots show."""
