"""Scanning imported datasets: every fault found, off the event loop."""
