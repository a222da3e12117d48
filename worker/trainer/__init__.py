"""Trains one job. Runs on the training machine as ``python -m worker.trainer``; the worker never imports it."""
