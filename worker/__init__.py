"""How it runs: delivery over Kafka, adapters for storage and executors, the command line."""
