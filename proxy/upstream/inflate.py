"""Bodies that came compressed although `identity` was asked for."""

import zlib
from typing import Final

from proxy.domain.errors import UpstreamCutError

INFLATED_BYTES_MAX: Final = 256 * 2**10  # given out at once: a bomb grows no faster than it is read
_WBITS: Final = {"gzip": 31, "x-gzip": 31, "deflate": 15}


def is_inflatable(encoding: str) -> bool:
    return encoding in _WBITS


class Inflater:
    """Decodes one body, fed as it comes. Raises UpstreamCutError where it cannot be decoded."""

    def __init__(self, encoding: str) -> None:
        self._wbits = _WBITS[encoding]
        self._member = zlib.decompressobj(self._wbits)
        self._pending = b""
        self._has_more = False  # the last output was cut at the bound

    def feed(self, data: bytes) -> None:
        self._pending += data

    def take(self) -> bytes:
        """The next bytes, b"" where more input is needed (or the body is over)."""
        while self._pending or self._has_more:
            if self._member.eof:  # gzip members may follow one another (RFC 1952, 2.2)
                self._member = zlib.decompressobj(self._wbits)
            try:
                data = self._member.decompress(self._pending, INFLATED_BYTES_MAX)
            except zlib.error:
                raise UpstreamCutError("the body is not what its content-encoding says") from None
            self._pending = self._member.unconsumed_tail or self._member.unused_data
            self._has_more = len(data) == INFLATED_BYTES_MAX and not self._member.eof
            if data:
                return data
        return b""

    @property
    def is_drained(self) -> bool:
        """Nothing can be taken before more is fed."""
        return not self._pending and not self._has_more

    @property
    def is_complete(self) -> bool:
        return self.is_drained and self._member.eof
