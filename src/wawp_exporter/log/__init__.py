"""The append-only log and everything that reads or writes its tables."""
