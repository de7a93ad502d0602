"""What one evaluation of all shipped rules costs on a real Prometheus: `python -m bench.rules [--quick]`.

An exporter is filled with a fleet, some of it in trouble; Prometheus scrapes it and evaluates the rules at the
recommended 5 s. The longest range of a rule on session series is 15 minutes, so a measurement that means something
waits for that long: `--quick` does not, and says so.
"""

import argparse
import subprocess
import sys
import time
from itertools import batched  # type: ignore[attr-defined]
