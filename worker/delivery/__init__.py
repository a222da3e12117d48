"""Delivery: from a record to committed follow-ons. Nothing is lost, and nothing counts twice.

intake -> codec -> lanes -> (receipt look-up, handler, receipt put) -> publish -> commit. One concern a file.
"""
