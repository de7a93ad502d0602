"""The process in which reports are made: takes one function after another from its standard input, and writes results.

A plain program with two pipes: it ends without a message when its parent ends, for whatever reason.
"""

import contextlib
import os
import pickle
import sys
import threading
from queue import SimpleQueue
from typing import BinaryIO

NICENESS = 10  # webhooks go first
SIZE_BYTES = 8


def frame(value: object) -> bytes:
    """A value as it goes through a pipe: its length, then itself."""
    body = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
    return len(body).to_bytes(SIZE_BYTES, "big") + body


def receive(pipe: BinaryIO, requests: "SimpleQueue[bytes]") -> None:
    """Reads requests; ends the process when the pipe ends: nobody waits for the current report any more."""
    while size := pipe.read(SIZE_BYTES):
        requests.put(pipe.read(int.from_bytes(size, "big")))
    os._exit(0)


def answer(request: bytes) -> bytes:
    """Runs what was asked for: (True, its result) or (False, the exception)."""
    try:
        function, args = pickle.loads(request)  # noqa: S301 - from the parent
        return frame((True, function(*args)))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent raises it
        return frame((False, error))


def main() -> None:
    """Works until standard input ends."""
    # What a library prints must not come between the results.
    pipe = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    requests: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=receive, args=(sys.stdin.buffer, requests), daemon=True).start()
    with contextlib.suppress(BrokenPipeError):
        while True:
            pipe.write(answer(requests.get()))
            pipe.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
