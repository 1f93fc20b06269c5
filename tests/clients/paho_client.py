"""A scripted paho-mqtt 2.x client: commands as JSON lines on stdin, events as JSON lines on stdout.

usage: paho_client.py HOST PORT TOKEN VERSION(4|5) [OPTIONS]

Options, a JSON object: {"client_id", "password", "kept": seconds (no clean start; MQTT 5: session expiry), "will": {"topic",
"payload", "delay_s"}, "websocket": path, "ca": file}.
Commands: {"do": "publish", "topic", "payload" or "hex", "qos", "retain"}, {"do": "subscribe", "topic", "qos"},
{"do": "unsubscribe", "topic"}, {"do": "disconnect"}.
Events: connected {code, session_present}, published {id, code}, subscribed {codes}, unsubscribed, message {topic, payload, hex,
qos}, disconnected {code}.
"""

import json
import sys

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


def payload_of(message):
    try:
        text = message.payload.decode()
        return json.loads(text)
    except UnicodeDecodeError:
        return None
    except ValueError:
        return text


def message_came(message):
    say("message", topic=message.topic, payload=payload_of(message), hex=message.payload.hex(), qos=message.qos)


def new_client(token, version, options):
    kept = options.get("kept")
    clean = {"clean_session": kept is None} if version == 4 else {}
    client = mqtt.Client(
        mqtt.CallbackAPIVersion.VERSION2,
        client_id=options.get("client_id", "paho-" + token),
        protocol=version,
        reconnect_on_failure=False,
        transport="websockets" if "websocket" in options else "tcp",
        **clean,
    )
    client.username_pw_set(token, options.get("password"))
    if "websocket" in options:
        client.ws_set_options(path=options["websocket"])
    if "ca" in options:
        client.tls_set(ca_certs=options["ca"])
    if "will" in options:
        will, properties = options["will"], None
        if version == 5:
            properties = Properties(PacketTypes.WILLMESSAGE)
            properties.WillDelayInterval = will.get("delay_s", 0)
        client.will_set(will["topic"], json.dumps(will["payload"]), qos=1, properties=properties)
    client.on_connect = lambda c, u, flags, reason, props: say(
        "connected", code=reason.value, session_present=flags.session_present
    )
    client.on_publish = lambda c, u, mid, reason, props: say("published", id=mid, code=reason.value)
    client.on_subscribe = lambda c, u, mid, reasons, props: say("subscribed", codes=[reason.value for reason in reasons])
    client.on_unsubscribe = lambda c, u, mid, reasons, props: say("unsubscribed", codes=[reason.value for reason in reasons])
    client.on_message = lambda c, u, message: message_came(message)
    client.on_disconnect = lambda c, u, flags, reason, props: say("disconnected", code=reason.value)
    return client


def connect(client, host, port, version, options):
    arguments = {}
    if version == 5:
        kept = options.get("kept")
        arguments["clean_start"] = kept is None
        if kept is not None:
            arguments["properties"] = Properties(PacketTypes.CONNECT)
            arguments["properties"].SessionExpiryInterval = kept
    client.connect(host, port, keepalive=60, **arguments)


def obey(client, command):
    verb = command["do"]
    if verb == "publish":
        if "hex" in command:
            payload = bytes.fromhex(command["hex"])
        else:
            payload = command["payload"]
            payload = payload if isinstance(payload, str) else json.dumps(payload)
        client.publish(command["topic"], payload, qos=command.get("qos", 1), retain=command.get("retain", False))
    elif verb == "subscribe":
        client.subscribe(command["topic"], qos=command.get("qos", 1))
    elif verb == "unsubscribe":
        client.unsubscribe(command["topic"])
    elif verb == "disconnect":
        client.disconnect()
    else:
        sys.exit("unknown command " + verb)


def main():
    host, port, token, version = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    options = json.loads(sys.argv[5]) if len(sys.argv) > 5 else {}
    client = new_client(token, version, options)
    connect(client, host, port, version, options)
    client.loop_start()
    for line in sys.stdin:
        obey(client, json.loads(line))
    client.disconnect()
    client.loop_stop()


main()
