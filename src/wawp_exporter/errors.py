"""Every error raised on purpose, as one tree; each knows its HTTP or exit status."""

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path


class WawpExporterError(Exception):
    """The root: whatever is raised on purpose. `exit_status` is what the command line ends with."""

    exit_status = 1


class ConfigError(WawpExporterError):
    """The configuration cannot be used; `mistakes` holds all of them, each as `key: what, expected what`.

    `stamps` are those of the files that were read for it: when one of them changes, it may be right.
    """

    exit_status = 2

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = tuple(mistakes)
        self.stamps: dict[Path, tuple[int, int, int, int, int] | None] = {}


class ListenError(WawpExporterError):
    """A listen address cannot be bound."""


class FolderError(WawpExporterError):
    """The folder that `setup` writes cannot be written; the message says why."""


class LogError(WawpExporterError):
    """The event log cannot be opened, read or written; the message says what was tried on which file."""


class GatewayError(WawpExporterError):
    """The gateway did not do what it was asked; `status` is what it answered, if it did.

    `unreachable`: nobody answered, or a proxy said that nobody is behind it. `late`: nobody answered in time.
    """

    def __init__(
        self, message: str, status: int | None = None, *, unreachable: bool = False, late: bool = False
    ) -> None:
        super().__init__(message)
        self.status = status
        self.late = late or status == HTTPStatus.GATEWAY_TIMEOUT
        self.unreachable = unreachable or self.late or status in (502, 503)


class Refusal(WawpExporterError):
    """A request is refused: answered with `status` and counted under `reason` (None: not counted).

    `anonymous`: anybody who finds the URL can cause it, so it does not show that the gateway is refused.
    """

    status = 400
    reason: str | None = None
    anonymous = False

    def __init__(self, message: str, headers: Sequence[tuple[str, str]] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.headers = tuple(headers)


class BadRequest(Refusal):
    """A parameter is wrong; the message names it and what was expected."""


class Malformed(Refusal):
    """The body is not a JSON object."""

    reason = "malformed"


class Unauthenticated(Refusal):
    """The signature or the token is missing or wrong; `reason` says which."""

    status = 401

    def __init__(
        self, message: str, reason: str, headers: Sequence[tuple[str, str]] = (), *, anonymous: bool = False
    ) -> None:
        super().__init__(message, headers)
        self.reason = reason
        self.anonymous = anonymous


class Forbidden(Refusal):
    """The call needs a token, none is configured, and the caller is not certainly on this machine."""

    status = 403


class NotFound(Refusal):
    """No such source, session or path."""

    status = 404


class UnknownSource(NotFound):
    """A path under /webhook that belongs to no source."""

    reason = "unknown_source"


class MethodNotAllowed(Refusal):
    """Another method than a webhook's."""

    status = 405
    reason = "method"


class TooSlow(Refusal):
    """The body did not arrive in time."""

    status = 408
    reason = "malformed"
    anonymous = True


class TooLarge(Refusal):
    """The body is longer than the limit."""

    status = 413
    reason = "too_large"
    anonymous = True


class UrlTooLong(Refusal):
    """The request line is longer than the limit."""

    status = 414


class HeadTooLong(Refusal):
    """Request line, headers and trailers together are longer than the limit."""

    status = 431


class UnsupportedEncoding(Refusal):
    """The body is compressed."""

    status = 415
    reason = "malformed"
    anonymous = True


class InvalidEvent(Refusal):
    """A `session.status` event without a usable session or status; the message names the field."""

    status = 422
    reason = "invalid_event"


class LogUnavailable(Refusal):
    """The log cannot be written: nothing was applied, the sender is to try again."""

    status = 503
    reason = "log_unavailable"

    def __init__(self, message: str = "the event log cannot be written; nothing was applied, try again") -> None:
        super().__init__(message, [("Retry-After", "2")])


class Conflict(Refusal):
    """The session is in a status in which this cannot be."""

    status = 409


class NoAnswer(Refusal):
    """The gateway does not answer, or has not yet what was asked for."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message, [("Retry-After", "5")])


class TooBusy(Refusal):
    """As much is being read from the log as there is room for."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message, [("Retry-After", "10")])


class Left(Refusal):
    """The caller has closed the connection: nobody reads the answer."""

    status = 503


class TooManyStreams(Refusal):
    """As many readers follow the events as there is room for."""

    status = 503

    def __init__(self, message: str) -> None:
        super().__init__(message, [("Retry-After", "10")])


def describe(error: BaseException) -> str:
    """An error for a log line; the log's own messages hold no event data, others are named by type only."""
    return str(error) if isinstance(error, LogError) else type(error).__name__
