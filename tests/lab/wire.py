"""What a syncd says first (lib/wire/peer.proto), for tests that play one."""

import struct


def varint(number):
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(tag, value):
    """One field of a protobuf message: a number, or bytes."""
    if isinstance(value, int):
        return varint(tag << 3) + varint(value)
    return varint(tag << 3 | 2) + varint(len(value)) + value


def hello(node, version=1):
    """A frame with the Hello of a node that speaks this version only."""
    inner = (field(1, version) + field(2, version) + field(3, node.encode()) + field(4, b"mail") +
             field(5, 12345) + field(6, b"0123456789abcdef"))
    frame = field(1, inner)
    return struct.pack(">I", len(frame)) + frame
