"""A scripted paho-mqtt 2.x client: commands as JSON lines on stdin, events as JSON lines on stdout.

usage: paho_client.py HOST PORT TOKEN VERSION(4|5)

Commands: {"do": "publish", "topic", "payload", "qos"}, {"do": "subscribe", "topic", "qos"}, {"do": "unsubscribe", "topic"},
{"do": "disconnect"}.
Events: connected {code, session_present}, published {id, code}, subscribed {codes}, unsubscribed, message {topic, payload, qos},
disconnected {code}.
"""

import json
import sys

import paho.mqtt.client as mqtt


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


def payload_of(message):
    text = message.payload.decode()
    try:
        return json.loads(text)
    except ValueError:
        return text


def main():
    host, port, token, version = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id="paho-" + token, protocol=version, reconnect_on_failure=False)
    client.username_pw_set(token)
    client.on_connect = lambda c, u, flags, reason, props: say(
        "connected", code=reason.value, session_present=flags.session_present
    )
    client.on_publish = lambda c, u, mid, reason, props: say("published", id=mid, code=reason.value)
    client.on_subscribe = lambda c, u, mid, reasons, props: say("subscribed", codes=[reason.value for reason in reasons])
    client.on_unsubscribe = lambda c, u, mid, reasons, props: say("unsubscribed", codes=[reason.value for reason in reasons])
    client.on_message = lambda c, u, message: say(
        "message", topic=message.topic, payload=payload_of(message), qos=message.qos
    )
    client.on_disconnect = lambda c, u, flags, reason, props: say("disconnected", code=reason.value)
    client.connect(host, port, keepalive=60)
    client.loop_start()
    for line in sys.stdin:
        command = json.loads(line)
        verb = command["do"]
        if verb == "publish":
            payload = command["payload"]
            text = payload if isinstance(payload, str) else json.dumps(payload)
            client.publish(command["topic"], text, qos=command.get("qos", 1))
        elif verb == "subscribe":
            client.subscribe(command["topic"], qos=command.get("qos", 1))
        elif verb == "unsubscribe":
            client.unsubscribe(command["topic"])
        elif verb == "disconnect":
            client.disconnect()
        else:
            sys.exit("unknown command " + verb)
    client.disconnect()
    client.loop_stop()


main()
