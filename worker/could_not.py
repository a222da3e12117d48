"""What errors mean that end a command: each kind has one exit code, whichever command it ends."""


class CouldNot(Exception):
    """Something could not be done. The text is one line that says why, and what a person can do about it."""


class NotRight(Exception):
    """The thing asked about is not there, or not as it must be. The text says so as that of CouldNot does.

    A task, a letter or a model that is not there, or an event that nobody may read: trying again changes nothing.
    """
