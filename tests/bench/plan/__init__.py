"""Drawing a plan: samples a second, and that the memory does not grow with them."""
