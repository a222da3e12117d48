"""Alert rules, and what is derived from them."""
