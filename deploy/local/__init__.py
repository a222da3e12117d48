"""Real services as processes of this machine, for tests and for trying things. No Docker."""
