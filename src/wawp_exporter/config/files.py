"""The files that an operator names: read at once and within limits, as the text that an editor meant."""

import codecs
import errno
import io
import os
import re
import stat
import unicodedata
from pathlib import Path

MAX_CONFIG_BYTES = 16 << 20
MAX_NAMED_BYTES = 1 << 20  # of keys, tokens and certificates
# What editors put before text; UTF-32 first, as it begins like UTF-16.
MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
LINE_END = re.compile(r"\r\n|\r|\n")
COMMENT = re.compile(r"#(\s|\Z)")
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Cn", "Zl", "Zp"})  # categories: controls, marks without width, line ends


# Device, inode, size, and the times of the last change of the content and of the inode; None: there is no such file.
Stamp = tuple[int, int, int, int, int]
Stamps = dict[Path, Stamp | None]


def stamp_of(path: Path) -> Stamp | None:
    """What is different once a file was written, replaced, or hidden behind another link."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def read(path: Path, limit: int) -> bytes:
    """The whole of a regular file. Raises OSError, for anything else too: a pipe would be waited for."""
    try:
        file = io.FileIO(path, opener=open_at_once)
    except ValueError:
        raise OSError(errno.EINVAL, "Not a path") from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "Not a regular file")
        content = file.read(limit + 1)
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"Longer than {limit} bytes")
    return content


def open_at_once(path: str, flags: int) -> int:
    """Opens a file; a pipe without a writer is not waited for."""
    return os.open(path, flags | os.O_NONBLOCK)


def decode(content: bytes) -> str:
    """Text as UTF-8, or as its byte order mark says, which is left out. Raises UnicodeDecodeError."""
    for mark, encoding in MARKS:
        if content.startswith(mark):
            return content[len(mark) :].decode(encoding)
    return content.decode("utf-8")


def secrets_in(content: bytes) -> tuple[bytes, ...]:
    """The secrets of a file, one a line; blanks around them, empty lines and lines that begin with `# ` are left out.

    Raises ValueError, without showing any of it, for what would be taken as another secret than was meant.
    """
    try:
        lines = LINE_END.split(decode(content))
    except UnicodeDecodeError:
        raise ValueError("is not text in UTF-8, expected one secret a line") from None
    secrets = []
    for number, line in enumerate(lines, 1):
        secret = line.strip().strip("\ufeff\u200b").strip()
        if not secret or COMMENT.match(secret):
            continue
        problem = problem_of(secret)
        if problem:
            raise ValueError(f"line {number} {problem}")
        secrets.append(secret.encode())
    if not secrets:
        what = "holds no secret" if content.strip() else "is empty"
        raise ValueError(f"{what}, expected at least one line")
    return tuple(secrets)


def problem_of(secret: str) -> str:
    """Why a line is not taken as a secret; "" if it is."""
    if secret.startswith("#"):
        return "begins with #, expected a space after it (a comment), or a secret that begins with another character"
    if re.search(r"\s#", secret):
        return "holds a space and #, expected a comment on a line of its own"
    odd = next((sign for sign in secret if unicodedata.category(sign) in INVISIBLE), "")
    return f"holds the invisible character U+{ord(odd):04X}, expected text in UTF-8" if odd else ""
