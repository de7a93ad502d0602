"""The soak: real services, gateways that retry, faults at random, and a fold of the log of its own."""
