"""Delivery measured: our way beside the client's own, FastStream's, and bare loops of the same requests."""
