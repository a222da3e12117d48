"""What is trained, with which data, decided before dispatch."""
