"""``worker models``: what is in the model repository, whether it is intact, and getting it out of there."""
