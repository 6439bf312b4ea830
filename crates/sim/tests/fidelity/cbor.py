"""Reads CBOR (RFC 8949), as far as RPC v2 uses it; strict, and independent of botocore's own reader."""

import struct


class Time(float):
    """Seconds since the epoch: tag 1."""


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, n):
        if self.at + n > len(self.data):
            raise ValueError("CBOR ends in the middle")
        taken = self.data[self.at : self.at + n]
        self.at += n
        return taken

    def number(self, low):
        if low < 24:
            return low
        if low > 27:
            raise ValueError(f"CBOR: additional information {low}")
        return int.from_bytes(self.take(1 << (low - 24)), "big")

    def until_break(self, read):
        items = []
        while self.data[self.at] != 0xFF:
            items.append(read())
        self.at += 1
        return items

    def value(self):
        first = self.take(1)[0]
        major, low = first >> 5, first & 31
        open_ended = low == 31
        if major == 0:
            return self.number(low)
        if major == 1:
            return -1 - self.number(low)
        if major in (2, 3):
            held = b"".join(self.until_break(self.value)) if open_ended else self.take(self.number(low))
            return held if major == 2 else held.decode()
        if major == 4:
            return self.until_break(self.value) if open_ended else [self.value() for _ in range(self.number(low))]
        if major == 5:
            pair = lambda: (self.value(), self.value())
            pairs = self.until_break(pair) if open_ended else [pair() for _ in range(self.number(low))]
            if len({key for key, _ in pairs}) != len(pairs):
                raise ValueError("CBOR: a key twice")
            return dict(pairs)
        if major == 6:
            tag = self.number(low)
            if tag != 1:
                raise ValueError(f"CBOR: tag {tag}")
            return Time(self.value())
        if low in (20, 21):
            return low == 21
        if low == 22:
            return None
        if low in (25, 26, 27):
            size, form = {25: (2, ">e"), 26: (4, ">f"), 27: (8, ">d")}[low]
            return struct.unpack(form, self.take(size))[0]
        raise ValueError(f"CBOR: simple value {low}")


def decode(data):
    reader = Reader(data)
    held = reader.value()
    if reader.at != len(data):
        raise ValueError("CBOR: something follows the value")
    return held
