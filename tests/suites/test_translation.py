"""What the shim changes, and that it changes nothing else: it must not be able to make a script pass. Never opens a socket."""

import json
import unittest

import packets
from packets import binary, packet, properties, two
from translation import TELEMETRY, UPDATES, Session, Translation, wrap

TOKEN = "token"


def connect(level=4, flags=0x02, head=None, rest=b"", client_id=b"me"):
    start = binary(b"MQIsdp" if level == 3 else b"MQTT") + bytes([level, flags]) + two(60)
    return packet(0x10, start + (properties(head or []) if level == 5 else b"") + binary(client_id) + rest)


def connected(level=4, session=None, announce=False, raise_grants=False, said=()):
    """A translation past CONNECT and a CONNACK that says `said`."""
    session = session or Session()
    translation = Translation(lambda client_id: (TOKEN, session), announce, raise_grants)
    up(translation, connect(level))
    down(translation, packet(0x20, b"\0\0" + (properties(list(said)) if level == 5 else b"")))
    return translation


def translated(translate, whole):
    first, body, taken = packets.frame(whole)
    assert taken == len(whole)
    try:
        return translate(first, body)
    except packets.Unreadable:
        return whole


def up(translation, whole):
    return translated(translation.to_server, whole)


def down(translation, whole):
    return translated(translation.to_client, whole)


def update(topic, payload, packet_id, first=0x32):
    """A shared attribute of the platform that carries a message."""
    said = json.loads(wrap(topic, payload))["message"]
    return packet(first, binary(UPDATES) + two(packet_id) + json.dumps({"message1": said}).encode())


class Untouched(unittest.TestCase):
    def check(self, translation, direction, *wholes):
        for whole in wholes:
            self.assertEqual(direction(translation, whole), whole)

    def test_what_no_device_would_say_otherwise(self):
        for level in (3, 4, 5):
            acknowledgements = [packet(first, two(7)) for first in (0x40, 0x50, 0x62, 0x6A, 0x70)]
            self.check(connected(level), up, *acknowledgements, packet(0xC0, b""), packet(0xE0, b""), packet(0x29, b"\0\1"))
            answers = packet(0xD0, b""), packet(0xB0, two(1)), packet(0x90, two(1) + b"\1")
            self.check(connected(level), down, *acknowledgements, *answers)
        with_expiry = packet(0xE0, b"\4" + properties([(packets.SESSION_EXPIRY, b"\0\0\0\5")]))
        self.check(connected(5), up, with_expiry, packet(0xF0, b"\x18\0"), packet(0x40, two(7) + b"\x83"))
        self.check(connected(5), down, packet(0xE0, b"\x8e"), packet(0x40, two(7) + b"\x90"), packet(0x90, two(1) + b"\0\x8f"))

    def test_connects_that_are_none(self):
        translation = Translation(lambda client_id: (TOKEN, Session()))
        for whole in (
            connect(level=6),
            connect(client_id=b"a\0"),
            connect(client_id=b"\xff"),
            connect(flags=0x82, rest=binary(b"\0")),
            connect(flags=0x82),
            connect(flags=0x06, rest=binary(b"will")),
            connect(rest=b"more"),
            packet(0x10, binary(b"MQTT") + b"\4"),
            packet(0x30, binary(b"a")),
        ):
            self.assertEqual(up(translation, whole), whole)

    def test_publishes_that_are_none(self):
        for level in (4, 5):
            tail = b"\0" if level == 5 else b""
            topics = (b"a\0", b"\xff", b"a/#", b"+/a", b"$SYS/a")
            self.check(connected(level), up, *(packet(0x32, binary(topic) + two(1) + tail + b"x") for topic in topics))
            self.check(connected(level), up, packet(0x30, b""), packet(0x30, b"\0"), packet(0x32, binary(b"a")))

    def test_filters_that_are_none(self):
        for level in (4, 5):
            head = two(1) + (b"\0" if level == 5 else b"")
            filters = (b"", b"a\0", b"\xff", b"a/#/b", b"a+", b"$share/g/a")
            self.check(connected(level), up, *(packet(0x82, head + binary(name) + b"\1") for name in filters))
            self.check(connected(level), up, *(packet(0xA2, head + binary(name)) for name in filters))
            self.check(connected(level), up, packet(0x82, two(1)), packet(0x82, head + binary(b"a")), packet(0xA2, b""))

    def test_what_is_said_of_the_session(self):
        for level in (4, 5):
            tail = b"\0" if level == 5 else b""
            for first_bytes in (b"\1\0", b"\0\0", b"\0\5"):
                self.check(connected(level), down, packet(0x20, first_bytes + tail))


class Changed(unittest.TestCase):
    def test_a_device_shows_its_token_and_keeps_the_rest(self):
        head = [(packets.SESSION_EXPIRY, b"\0\0\0\x3c")]
        for level, flags, shown in ((3, 0x02, 0x82), (4, 0x03, 0x83), (5, 0x00, 0x80)):
            translation = Translation(lambda client_id: (TOKEN, Session()))
            expected = connect(level, shown, head, binary(TOKEN.encode()))
            self.assertEqual(up(translation, connect(level, flags, head)), expected)
        translation = Translation(lambda client_id: (TOKEN, Session()))
        named = connect(flags=0xC2, rest=binary(b"user") + binary(b"password"))
        self.assertEqual(up(translation, named), connect(flags=0x82, rest=binary(TOKEN.encode())))

    def test_a_credential_of_its_own_stays(self):
        translation = Translation(lambda client_id: (None, Session()))
        named = connect(flags=0xC2, rest=binary(b"user") + binary(b"password"))
        self.assertEqual(up(translation, named), named)

    def test_a_will_is_telemetry(self):
        translation = Translation(lambda client_id: (TOKEN, Session()))
        will = connect(flags=0x36, rest=binary(b"a") + binary(b"gone"))
        said = binary(TELEMETRY) + binary(wrap(b"a", b"gone")) + binary(TOKEN.encode())
        self.assertEqual(up(translation, will), connect(flags=0xB6, rest=said))

    def test_a_publish_is_telemetry_with_its_flags_and_identifier(self):
        for first in (0x30, 0x31, 0x32, 0x3A, 0x34, 0x3D):
            packet_id = two(9) if first & 0x06 else b""
            body = binary(b"a/b") + packet_id + b"x"
            expected = packet(first, binary(TELEMETRY) + packet_id + wrap(b"a/b", b"x"))
            self.assertEqual(up(connected(), packet(first, body)), expected)

    def test_aliases_keep_their_distance_from_the_maximum(self):
        translation = connected(5, announce=True, said=[(packets.TOPIC_ALIAS_MAXIMUM, two(16))])
        for alias, topic, shown in ((10, b"a", 16), (10, b"", 16), (11, b"b", 17), (0, b"c", 0)):
            body = binary(topic) + properties([(packets.TOPIC_ALIAS, two(alias))]) + b"x"
            name = TELEMETRY if topic else b""
            expected = binary(name) + properties([(packets.TOPIC_ALIAS, two(shown))]) + wrap(topic or b"a", b"x")
            self.assertEqual(up(translation, packet(0x30, body)), packet(0x30, expected))

    def test_filters_are_the_devices_own_and_codes_stay(self):
        translation = connected()
        subscribed = up(translation, packet(0x82, two(1) + binary(b"a") + b"\1" + binary(b"b") + b"\2"))
        targets = binary(UPDATES) + b"\1" + binary(b"v1/devices/me/attributes/response/+") + b"\2"
        self.assertEqual(subscribed, packet(0x82, two(1) + targets))
        self.assertEqual(down(translation, packet(0x90, two(1) + b"\1\1")), packet(0x90, two(1) + b"\1\1"))
        self.assertTrue(translation.session.wants(b"a") and not translation.session.wants(b"c"))
        self.assertEqual(up(translation, packet(0xA2, two(2) + binary(b"a"))), packet(0xA2, two(2) + binary(UPDATES)))
        down(translation, packet(0xB0, two(2)))
        self.assertFalse(translation.session.wants(b"a"))

    def test_a_bystander_may_be_granted_more(self):
        translation = connected(raise_grants=True)
        up(translation, packet(0x82, two(1) + binary(b"a") + b"\2" + binary(b"b") + b"\2" + binary(b"$c") + b"\2"))
        self.assertEqual(down(translation, packet(0x90, two(1) + b"\1\0\x80")), packet(0x90, two(1) + b"\2\0\x80"))

    def test_messages_are_counted_from_one_and_a_repetition_keeps_its_number(self):
        session = Session()
        translation = connected(session=session)
        expected = [packet(0x32, binary(b"a") + two(number) + b"x") for number in (1, 2)]
        self.assertEqual([down(translation, update(b"a", b"x", server_id)) for server_id in (40, 50)], expected)
        translation = Translation(lambda client_id: (TOKEN, session))
        up(translation, connect(flags=0x00))
        down(translation, packet(0x20, b"\1\0"))
        again = down(translation, update(b"a", b"x", 40, first=0x3A))
        self.assertEqual(again, packet(0x3A, binary(b"a") + two(1) + b"x"))
        self.assertEqual(up(translation, packet(0x40, two(1))), packet(0x40, two(40)))
        self.assertEqual(down(translation, update(b"a", b"y", 40)), packet(0x32, binary(b"a") + two(3) + b"y"))

    def test_connack_describes_mosquitto_and_keeps_what_answers_the_client(self):
        said = [(packets.RECEIVE_MAXIMUM, two(64)), (packets.ASSIGNED_CLIENT_ID, binary(b"x")), (0x13, two(30))]
        translation = connected(5, announce=True)
        shown = down(translation, packet(0x20, b"\1\0" + properties(said)))
        ours = [(packets.TOPIC_ALIAS_MAXIMUM, two(10)), *said[1:], (packets.RECEIVE_MAXIMUM, two(20))]
        self.assertEqual(shown, packet(0x20, b"\1\0" + properties(ours)))
        refusal = packet(0x20, b"\0\x8c" + properties([(packets.REASON_STRING, binary(b"why"))]))
        self.assertEqual(down(translation, refusal), packet(0x20, b"\0\x8c\0"))

    def test_reason_strings_are_left_out(self):
        why, other = (packets.REASON_STRING, binary(b"why")), (0x26, binary(b"k") + binary(b"v"))
        for first, head, tail in (
            (0xE0, b"\x82", b""),
            (0x40, two(7) + b"\x90", b""),
            (0x90, two(7), b"\x8f"),
            (0xB0, two(7), b"\x11"),
        ):
            bare = head + (b"\0" if tail else b"") + tail
            self.assertEqual(down(connected(5), packet(first, head + properties([why]) + tail)), packet(first, bare))
            kept = packet(first, head + properties([other]) + tail)
            self.assertEqual(down(connected(5), packet(first, head + properties([why, other]) + tail)), kept)


class Framing(unittest.TestCase):
    def test_a_packet_ends_where_its_length_says(self):
        for whole, expected in (
            (b"", None),
            (b"\x30", None),
            (b"\x30\x80", None),
            (b"\x30\x02a", None),
            (b"\xc0\0\xc0", (0xC0, b"", 2)),
            (packet(0x30, b"x" * 300) + b"y", (0x30, b"x" * 300, 303)),
        ):
            self.assertEqual(packets.frame(bytearray(whole)), expected)
        with self.assertRaises(packets.Unreadable):
            packets.frame(bytearray(b"\x30\xff\xff\xff\xff"))

    def test_topics_match_as_the_protocol_says(self):
        for wanted, topic, expected in (
            (b"a/+", b"a/b", True),
            (b"a/+", b"a", False),
            (b"a/#", b"a", True),
            (b"#", b"a/b", True),
            (b"a", b"a/b", False),
        ):
            self.assertEqual(packets.matches(wanted, topic), expected)


if __name__ == "__main__":
    unittest.main()
