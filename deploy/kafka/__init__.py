"""Topics and users for Strimzi, derived from the contracts and the stages' table."""
