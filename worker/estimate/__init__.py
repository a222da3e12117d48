"""``worker estimate``: the fee of a form over files at hand, by the code that prices imports."""
