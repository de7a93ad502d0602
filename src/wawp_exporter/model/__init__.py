"""The fold, pure: no clock, no socket, no database."""
