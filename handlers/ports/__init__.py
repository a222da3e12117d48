"""What handlers need from the world, as Protocols, a file a need. Adapters are in worker/."""
