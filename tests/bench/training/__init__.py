"""Training measured: our trainer beside TRL's and the plain one of transformers, on one model and the same data."""
