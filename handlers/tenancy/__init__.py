"""What sets projects apart: which files each may read, and how much it may use."""
