"""What is said: the events, their envelope and the dataset formats. No I/O; imports nothing of ours."""
