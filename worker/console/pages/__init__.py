"""The pages: plain functions of a request, one file a matter. What may be seen is decided here, by project."""
