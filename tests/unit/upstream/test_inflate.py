import gzip
import zlib

import pytest

from proxy.domain.errors import UpstreamCutError
from proxy.upstream.inflate import INFLATED_BYTES_MAX, Inflater, is_inflatable


def test_an_event_is_out_as_soon_as_its_bytes_are_in() -> None:
    packer = zlib.compressobj(wbits=31)
    inflater = Inflater("gzip")
    for number in range(3):
        event = b"data: %d\n\n" % number
        inflater.feed(packer.compress(event) + packer.flush(zlib.Z_SYNC_FLUSH))
        assert inflater.take() == event
        assert inflater.take() == b""
        assert not inflater.is_complete
    inflater.feed(packer.flush())
    assert inflater.take() == b""
    assert inflater.is_complete


def test_a_bomb_grows_no_faster_than_it_is_read() -> None:
    inflater = Inflater("deflate")
    inflater.feed(zlib.compress(bytes(50 * 2**20)))
    sizes = []
    while data := inflater.take():
        sizes.append(len(data))
    assert sum(sizes) == 50 * 2**20
    assert max(sizes) <= INFLATED_BYTES_MAX
    assert inflater.is_complete


@pytest.mark.parametrize("size", [0, 1, INFLATED_BYTES_MAX - 1, INFLATED_BYTES_MAX * 2])
def test_byte_by_byte_gives_the_same(size: int) -> None:
    text = bytes(range(256)) * (size // 256) + bytes(size % 256)
    inflater = Inflater("gzip")
    out = b""
    for byte in gzip.compress(text):
        assert not inflater.is_complete
        inflater.feed(bytes([byte]))
        while data := inflater.take():
            out += data
    assert out == text
    assert inflater.is_complete


def test_garbage_is_a_cut() -> None:
    inflater = Inflater("gzip")
    inflater.feed(b"plainly text")
    with pytest.raises(UpstreamCutError):
        inflater.take()


def test_what_cannot_be_decoded_is_known() -> None:
    assert is_inflatable("x-gzip")
    assert not is_inflatable("br")
    assert not is_inflatable("gzip, br")
