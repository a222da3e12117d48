"""The commands, one file each: options in, text and exit code out. What they do is elsewhere."""
