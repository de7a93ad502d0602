"""The chain from a gateway to a phone, looked at link by link; only reads, but for a test alert."""
