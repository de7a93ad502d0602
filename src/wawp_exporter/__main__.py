"""`python -m wawp_exporter` is the command line."""

from wawp_exporter.commands.main import main

main(prog_name="wawp-exporter")
