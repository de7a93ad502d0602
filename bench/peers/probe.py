"""Asks a server for /-/healthy every few milliseconds and prints how long the answers took: `probe PORT SECONDS`.

A process of its own, so that what it measures is not its own other work.
"""

import http.client
import sys
import time

PAUSE_S = 0.005


def main() -> None:
    """Seconds, one a line."""
    connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]))
    end = time.monotonic() + float(sys.argv[2])
    while time.monotonic() < end:
        started = time.perf_counter()
        connection.request("GET", "/-/healthy")
        connection.getresponse().read()
        print(time.perf_counter() - started)
        time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
