"""The console: a page over Kafka and the bucket. It publishes and follows events as any platform would."""
