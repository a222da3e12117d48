"""Kafka itself: reaching brokers, topics and their rights, reading without a group, the embedded broker."""
