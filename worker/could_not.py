"""The one meaning that all errors share which end a command with exit code 2."""


class CouldNot(Exception):
    """Something could not be done. The text is one line that says why, and what a person can do about it."""
