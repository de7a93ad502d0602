"""How reliable sessions were, computed from the log."""
