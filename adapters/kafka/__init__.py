"""Kafka: where the relay publishes events."""
