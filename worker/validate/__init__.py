"""Validating files at hand, with the same rules as imported datasets: reading, showing and correcting them."""
