"""Finding every fault of a dataset in one pass."""
