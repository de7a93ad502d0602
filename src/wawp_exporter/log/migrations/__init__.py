"""The log's schema, one file a change, run by Alembic when the log is opened."""
