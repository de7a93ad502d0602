"""A fleet simulator for demos and tests."""
