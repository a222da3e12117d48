"""Samples to tokens, exactly: one encoder for the counter (CPU, no torch) and for the trainer."""
