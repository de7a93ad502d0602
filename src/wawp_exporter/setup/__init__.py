"""`wawp-exporter setup`: a folder with everything between a gateway and a phone, filled in."""
