"""Spans of handled events and of trainers' runs, sent by OTLP; the room that knows OpenTelemetry (extra ``traces``).

``switch.py``, ``current.py`` and ``training.py`` import none of it: they are imported where nobody wants spans, too.
"""
