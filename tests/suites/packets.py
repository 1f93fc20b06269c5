"""MQTT packets as bytes: where one ends, what lies where in it, how one is written. Never judges what it reads and never
repairs it: whatever cannot be read raises Unreadable, and the caller then passes the bytes on as they came."""

import struct

CONNECT, CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = range(1, 8)
SUBSCRIBE, SUBACK, UNSUBSCRIBE, UNSUBACK = range(8, 12)
DISCONNECT, AUTH = 14, 15

SESSION_EXPIRY, ASSIGNED_CLIENT_ID, REASON_STRING = 0x11, 0x12, 0x1F
RECEIVE_MAXIMUM, TOPIC_ALIAS_MAXIMUM, TOPIC_ALIAS = 0x21, 0x22, 0x23
# What a server says of itself in CONNACK: not an answer to anything that the client did.
SELF_DESCRIPTION = {SESSION_EXPIRY, RECEIVE_MAXIMUM, TOPIC_ALIAS_MAXIMUM, 0x24, 0x25, 0x27, 0x28, 0x29, 0x2A}

# How the value of each property is written (MQTT 5, 2.2.2.2).
_FORM_OF = {}
for _form, _ids in {
    "byte": (0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A),
    "two": (0x13, 0x21, 0x22, 0x23),
    "four": (0x02, 0x11, 0x18, 0x27),
    "varint": (0x0B,),
    "binary": (0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F),
    "pair": (0x26,),
}.items():
    _FORM_OF.update(dict.fromkeys(_ids, _form))


class Unreadable(Exception):
    """These bytes are no packet, or one that only a server could make sense of."""


class Reader:
    """Takes fields from the front of a packet's body."""

    def __init__(self, body):
        self.body = body
        self.at = 0

    def take(self, count):
        if self.at + count > len(self.body):
            raise Unreadable
        self.at += count
        return self.body[self.at - count : self.at]

    def byte(self):
        return self.take(1)[0]

    def two(self):
        return struct.unpack("!H", self.take(2))[0]

    def binary(self):
        return self.take(self.two())

    def varint(self):
        value = 0
        for shift in (0, 7, 14, 21):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
        raise Unreadable

    def rest(self):
        return self.take(len(self.body) - self.at)

    def properties(self):
        """(identifier, value as it is written) of each, in order."""
        inner = Reader(self.take(self.varint()))
        found = []
        while inner.at < len(inner.body):
            identifier = inner.varint()
            start = inner.at
            inner.skip_value(_FORM_OF.get(identifier))
            found.append((identifier, inner.body[start : inner.at]))
        return found

    def skip_value(self, form):
        if form == "byte":
            self.byte()
        elif form == "two":
            self.take(2)
        elif form == "four":
            self.take(4)
        elif form == "varint":
            self.varint()
        elif form == "binary":
            self.binary()
        elif form == "pair":
            self.binary()
            self.binary()
        else:
            raise Unreadable


def frame(buffer):
    """(first byte, body, bytes taken) of the packet at the front, or None while it is not wholly there."""
    if len(buffer) < 2:
        return None
    reader = Reader(bytes(buffer[1:5]))
    try:
        length = reader.varint()
    except Unreadable:
        if len(buffer) >= 5:
            raise
        return None
    start = 1 + reader.at
    if len(buffer) < start + length:
        return None
    return buffer[0], bytes(buffer[start : start + length]), start + length


def packet(first, body):
    return bytes([first]) + varint(len(body)) + body


def varint(value):
    written = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        written.append(low | (0x80 if value else 0))
        if not value:
            return bytes(written)


def binary(value):
    return struct.pack("!H", len(value)) + value


def two(value):
    return struct.pack("!H", value)


def properties(pairs):
    written = b"".join(varint(identifier) + value for identifier, value in pairs)
    return varint(len(written)) + written


def is_text(value):
    """Whether a server has to take these bytes for a string (MQTT 5, 1.5.4)."""
    try:
        return "\0" not in value.decode()
    except UnicodeDecodeError:
        return False


def is_topic_name(value):
    return bool(value) and is_text(value) and not set(value) & set(b"+#")


def is_topic_filter(value):
    levels = value.split(b"/")
    alone = all(level in (b"+", b"#") or not set(level) & set(b"+#") for level in levels)
    return bool(value) and is_text(value) and alone and b"#" not in levels[:-1]


def matches(wanted, topic):
    """Whether a topic filter matches a topic name (MQTT 5, 4.7)."""
    wanted, topic = wanted.split(b"/"), topic.split(b"/")
    for index, level in enumerate(wanted):
        if level == b"#":
            return True
        if index >= len(topic) or level not in (b"+", topic[index]):
            return False
    return len(wanted) == len(topic)
