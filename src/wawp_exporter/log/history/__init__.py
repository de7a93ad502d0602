"""The log, read only: transitions, what a reader missed, timelines. It may be read while the service writes."""
