"""What is decided: plain async functions over ports. No broker, no bucket client, no framework."""
