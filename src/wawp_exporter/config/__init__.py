"""The configuration: its keys, how it is read, how it is checked."""
