"""``worker tasks``: which tasks there are, how they go, and telling them to stop, pause or go on."""
