"""The running exporter: its parts, its upkeep, start, stop and reload."""
