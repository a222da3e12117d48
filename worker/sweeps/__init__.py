"""What no event announces: sweeps over the bucket that act on tasks, jobs, queues and models."""
