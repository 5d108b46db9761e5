"""What a failed request is told, and what the log may know of it."""

from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Final
from uuid import UUID

import structlog

from proxy.dialect.errors import Rendered, render_error
from proxy.domain.errors import ApiError, InternalError
from routing.table import Dialect

_log = structlog.get_logger("proxy.edge")
_ROOT: Final = Path(__file__).parents[2]


def render_failure(error: Exception, dialect: Dialect, request_id: UUID) -> Rendered:
    """Any exception as an answer. What is not an ApiError is our mistake: the client learns that
    much, and the log learns where it happened, never what it said."""
    if not isinstance(error, ApiError):
        log_mistake(error, request_id)
        error = InternalError("Something went wrong here. The request's id finds it in our log.")
    rendered = render_error(error, dialect, str(request_id))
    return Rendered(rendered.status, {**error.headers, **rendered.headers}, rendered.body)


def log_mistake(error: BaseException, request_id: UUID | None) -> None:
    """The class and our own line: an exception's words may quote a prompt."""
    _log.error(
        "internal_error",
        request_id=None if request_id is None else str(request_id),
        error_class=type(error).__qualname__,
        where=_own_line(error.__traceback__),
    )


def _own_line(traceback: TracebackType | None) -> str | None:
    """The innermost line that is ours, as `proxy/edge/respond.py:12`."""
    own = None
    for frame, line in walk_tb(traceback):
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(_ROOT) and "site-packages" not in path.parts:
            own = f"{path.relative_to(_ROOT)}:{line}"
    return own
