"""What runs beside the requests: the write path, the follower, event streams, worker threads and processes."""
