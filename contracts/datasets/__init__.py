"""The dataset formats, one module each, and the findings they share."""
