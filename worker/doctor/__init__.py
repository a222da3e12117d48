"""``worker doctor``: whether what the service stands on is as it must be, each with its remedy. Nothing is changed."""
