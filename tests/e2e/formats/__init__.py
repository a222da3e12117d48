"""What each format's end-to-end test trains on, and what its model is measured by."""
