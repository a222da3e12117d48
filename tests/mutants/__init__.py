"""Mutation testing of what judges datasets: each rule is broken in every small way, and some unit test must notice."""
