"""Chaos: tasks go through while workers, trainers, the broker and the bucket fail under them. ``make chaos ROUNDS=50``.

A round is a seeded story (:mod:`story`), seeded troubles (:mod:`troubles`) and a verdict (:mod:`verdict`); then a
full replay, which may change nothing.
"""
