"""Between a suite's script, which speaks to a broker, and a device platform: who connects, which topic, what lies in a payload.
Pure: packets in, packets out. Never touches what is judged: packet types, flags, QoS, DUP, reason codes, session present, the
identifiers of the client's own packets. tests/suites/README.md lists all that is changed, and why."""

import base64
import json

import packets
from packets import Reader, Unreadable

TELEMETRY = b"v1/devices/me/telemetry"
UPDATES = b"v1/devices/me/attributes"
# What a session's filters become, in this order. Only the first one carries messages; the others only have to be filters
# that a device may have, one for each that the script makes up.
TARGETS = [UPDATES, b"v1/devices/me/attributes/response/+", b"v1/devices/me/rpc/request/+", b"v1/devices/me/rpc/response/+"]

# What Mosquitto announces unless configured otherwise; its scripts compare CONNACK byte by byte.
ALIASES_ANNOUNCED, RECEIVE_MAXIMUM_ANNOUNCED = 10, 20

RENUMBERED = (packets.PUBACK, packets.PUBREC, packets.PUBCOMP)
EXPLAINED = RENUMBERED + (packets.SUBACK, packets.UNSUBACK, packets.DISCONNECT)


def wrap(topic, payload):
    """A message as telemetry."""
    said = json.dumps({"topic": topic.decode(), "payload": base64.b64encode(payload).decode()})
    return json.dumps({"message": said}).encode()


def unwrap(said):
    """(topic, payload) of what `wrap` said."""
    said = json.loads(said)
    return said["topic"].encode(), base64.b64decode(said["payload"])


class Session:
    """What a client identifier has with the server, from one connection to the next."""

    def __init__(self):
        self.restart()

    def restart(self):
        """The server has a new session: nothing is subscribed, nothing under way."""
        self.targets = {}
        self.granted = set()
        self.numbers = {}
        self.last_number = 0

    def target(self, wanted):
        """The platform's filter for a filter of the script."""
        free = [target for target in TARGETS if target not in self.targets.values()]
        if wanted not in self.targets and not free:
            raise Unreadable
        return self.targets.setdefault(wanted, free[0] if free else None)

    def wants(self, topic):
        """Whether a message to `topic` is for this client."""
        hears = any(self.targets.get(wanted) == UPDATES for wanted in self.granted)
        return hears and any(packets.matches(wanted, topic) for wanted in self.granted)

    def number(self, server_id):
        """The script expects the server to count its messages from 1; the platform chooses identifiers otherwise. The same
        message keeps its number until it is acknowledged."""
        if server_id not in self.numbers:
            self.last_number += 1
            self.numbers[server_id] = self.last_number
        return self.numbers[server_id]

    def server_id(self, number, is_last_use):
        known = [server_id for server_id, named in self.numbers.items() if named == number]
        if known and is_last_use:
            del self.numbers[known[0]]
        return known[0] if known else number

    def stored(self):
        """As JSON can hold it."""
        targets = {wanted.decode(): target.decode() for wanted, target in self.targets.items()}
        granted = sorted(wanted.decode() for wanted in self.granted)
        return {"targets": targets, "granted": granted, "numbers": list(self.numbers.items()), "last_number": self.last_number}

    @classmethod
    def restored(cls, stored):
        session = cls()
        session.targets = {wanted.encode(): target.encode() for wanted, target in stored["targets"].items()}
        session.granted = {wanted.encode() for wanted in stored["granted"]}
        session.numbers, session.last_number = dict(stored["numbers"]), stored["last_number"]
        return session


class Translation:
    """One connection. `admit(client id)` gives the access token, or None if the client shows a credential of its own, and the
    Session. `announce`: CONNACK says what Mosquitto would of itself. `raise_grants`: a bystander's QoS 2 subscription is
    granted in the server's stead (README)."""

    def __init__(self, admit, announce=False, raise_grants=False):
        self.admit, self.announce, self.raise_grants = admit, announce, raise_grants
        self.session = Session()
        self.version = None
        self.clean = True
        self.aliases = {}
        self.alias_shift = 0
        self.asked = {}

    def to_server(self, first, body):
        """The packet for Tidegate; Unreadable: as it came."""
        kind = first >> 4
        if self.version is None:
            return self._connect(first, body) if kind == packets.CONNECT else packets.packet(first, body)
        if kind == packets.PUBLISH:
            body = self._publish(first, body)
        elif kind in (packets.SUBSCRIBE, packets.UNSUBSCRIBE):
            body = self._filters(kind, body)
        elif kind in RENUMBERED:
            reader = Reader(body)
            server_id = self.session.server_id(reader.two(), is_last_use=kind == packets.PUBACK)
            body = packets.two(server_id) + reader.rest()
        return packets.packet(first, body)

    def to_client(self, first, body):
        """The packet for the script; Unreadable: as it came."""
        kind = first >> 4
        if kind == packets.CONNACK:
            body = self._connack(body)
        elif kind == packets.PUBLISH:
            body = self._delivery(first, body)
        elif kind in EXPLAINED and self.version == 5:
            body = self._unexplained(kind, body)
        if kind in (packets.SUBACK, packets.UNSUBACK):
            body = self._answered(kind, body)
        return packets.packet(first, body)

    def _connect(self, first, body):
        reader = Reader(body)
        name, level, flags, keep_alive = reader.binary(), reader.byte(), reader.byte(), reader.take(2)
        if level not in (3, 4, 5):
            raise Unreadable
        head = reader.properties() if level == 5 else None
        client_id = reader.binary()
        will = self._will(reader, level) if flags & 0x04 else b""
        user = reader.binary() if flags & 0x80 else None
        if flags & 0x40:
            reader.binary()
        if reader.rest() or not packets.is_text(client_id) or (user is not None and not packets.is_text(user)):
            raise Unreadable
        token, self.session = self.admit(client_id)
        self.version, self.clean = level, bool(flags & 0x02)
        if token is None:
            return packets.packet(first, body)
        written = packets.binary(name) + bytes([level, flags & ~0x40 | 0x80]) + keep_alive
        written += packets.properties(head) if level == 5 else b""
        written += packets.binary(client_id) + will + packets.binary(token.encode())
        return packets.packet(first, written)

    def _will(self, reader, level):
        written = packets.properties(reader.properties()) if level == 5 else b""
        topic, payload = reader.binary(), reader.binary()
        if self._is_moved(topic):
            topic, payload = TELEMETRY, wrap(topic, payload)
        return written + packets.binary(topic) + packets.binary(payload)

    @staticmethod
    def _is_moved(topic):
        """Topics that begin with $ are the server's own; how they are refused is the server's to say."""
        return packets.is_topic_name(topic) and not topic.startswith(b"$")

    def _publish(self, first, body):
        reader = Reader(body)
        topic = reader.binary()
        written = reader.take(2) if first & 0x06 else b""
        named = topic
        if self.version == 5:
            head = reader.properties()
            named = self._alias(head, topic)
            shifted = [(key, self._shifted(value) if key == packets.TOPIC_ALIAS else value) for key, value in head]
            written += packets.properties(shifted)
        payload = reader.rest()
        if topic and not self._is_moved(topic):
            return packets.binary(topic) + written + payload
        return packets.binary(TELEMETRY if topic else b"") + written + wrap(named, payload)

    def _alias(self, head, topic):
        """The name that a topic alias stands for, as the script will want to see it; the server resolves its own."""
        alias = dict(head).get(packets.TOPIC_ALIAS)
        if alias is None:
            return topic
        if topic:
            self.aliases[alias] = topic
        return self.aliases.get(alias, topic)

    def _shifted(self, alias):
        """The largest alias that was announced becomes the largest that the server takes, the next one the first it refuses."""
        number = int.from_bytes(alias, "big")
        return packets.two(min(number + self.alias_shift, 0xFFFF)) if number else alias

    def _filters(self, kind, body):
        reader = Reader(body)
        packet_id = reader.take(2)
        written = packet_id + (packets.properties(reader.properties()) if self.version == 5 else b"")
        wanted = []
        while reader.at < len(body):
            name = reader.binary()
            options = reader.take(1) if kind == packets.SUBSCRIBE else b""
            moved = packets.is_topic_filter(name) and not name.startswith(b"$")
            wanted.append((name, options))
            written += packets.binary(self.session.target(name) if moved else name) + options
        self.asked[packet_id] = wanted
        return written

    def _answered(self, kind, body):
        """Notes what is subscribed."""
        wanted = self.asked.pop(body[:2], [])
        codes = bytearray(body[len(body) - len(wanted) :])
        for index, (name, options) in enumerate(wanted[: len(codes)]):
            if kind == packets.UNSUBACK or codes[index] >= 0x80:
                self.session.granted.discard(name)
                self.session.targets.pop(name, None)
                continue
            self.session.granted.add(name)
            if self.raise_grants and codes[index] == 1:
                codes[index] = options[0] & 0x03
        return body[: len(body) - len(codes)] + bytes(codes) if self.raise_grants and kind == packets.SUBACK else body

    def _connack(self, body):
        # MQTT 3.1 does not say whether a session is present.
        present = not self.clean if self.version == 3 else bool(body[0] & 0x01)
        if body[1] == 0 and not present:
            self.session.restart()
        if self.version != 5:
            return body
        reader = Reader(body)
        flags, code, found = reader.byte(), reader.byte(), reader.properties()
        said = dict(found)
        maximum = int.from_bytes(said.get(packets.TOPIC_ALIAS_MAXIMUM, b""), "big")
        found = [(key, value) for key, value in found if key != packets.REASON_STRING]
        if self.announce:
            self.alias_shift = max(maximum - ALIASES_ANNOUNCED, 0)
            found = [(key, value) for key, value in found if key not in packets.SELF_DESCRIPTION]
            if code == 0:
                found.insert(0, (packets.TOPIC_ALIAS_MAXIMUM, packets.two(ALIASES_ANNOUNCED)))
                found.append((packets.RECEIVE_MAXIMUM, packets.two(RECEIVE_MAXIMUM_ANNOUNCED)))
        return bytes([flags, code]) + packets.properties(found)

    def _delivery(self, first, body):
        reader = Reader(body)
        topic = reader.binary()
        packet_id = reader.take(2) if first & 0x06 else b""
        head = packets.properties(reader.properties()) if self.version == 5 else b""
        payload = reader.rest()
        if topic == UPDATES:
            try:
                (said,) = json.loads(payload).values()
                topic, payload = unwrap(said)
            except (ValueError, TypeError, KeyError, AttributeError) as error:
                raise Unreadable from error
        if packet_id:
            packet_id = packets.two(self.session.number(int.from_bytes(packet_id, "big")))
        return packets.binary(topic) + packet_id + head + payload

    def _unexplained(self, kind, body):
        """Without the reason string. Where nothing is left of the properties they are left out, as the protocol lets one."""
        reader = Reader(body)
        start = b"" if kind == packets.DISCONNECT else reader.take(2)
        codes_last = kind in (packets.SUBACK, packets.UNSUBACK)
        if not codes_last:
            if reader.at == len(body):
                return body
            start += reader.take(1)
            if reader.at == len(body):
                return body
        found = reader.properties()
        kept = [(key, value) for key, value in found if key != packets.REASON_STRING]
        if kept == found:
            return body
        return start + (packets.properties(kept) if kept or codes_last else b"") + reader.rest()
