"""The JSON API, as `web/operations.py` lists it."""
