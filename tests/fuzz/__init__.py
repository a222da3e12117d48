"""Coverage-guided fuzzing; not part of the tests. ``make fuzz`` runs it."""
