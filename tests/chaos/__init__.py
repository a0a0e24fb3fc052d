"""What goes wrong around a queue, made to go wrong on purpose; too long for every run of the suite."""
