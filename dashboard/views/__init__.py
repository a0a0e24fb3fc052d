"""What the console answers: each view asks dashboard.queries or calls a verb of dbq, and renders."""
