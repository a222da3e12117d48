"""The demo: the whole flow on an embedded broker and a directory, with a real model."""
