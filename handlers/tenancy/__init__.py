"""What sets projects apart: which files each may read."""
