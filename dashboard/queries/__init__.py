"""The read side: one module a screen, every function a bounded statement or two."""
