"""Drawing samples from the rows in the bucket, in a process of the pool: the Planner."""
