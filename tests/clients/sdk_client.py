"""ThingsBoard's own device SDK (tb-mqtt-client), scripted: commands as JSON lines on stdin, events as JSON lines on stdout.

usage: sdk_client.py HOST PORT TOKEN

Commands: {"do": "telemetry", "values"}, {"do": "attributes", "values"}, {"do": "request", "client": [..], "shared": [..]},
{"do": "watch", "key"}, {"do": "limits"}, {"do": "serve"} (answers each call with its params), {"do": "claim", "secret",
"duration_ms"}, {"do": "update"} (asks for its firmware, downloads and checks it).
Events: connected (the SDK's own getSessionLimits was answered, too), telemetry {code}, attributes {code}, response {body},
watching {key}, update {body}, limits {body}, serving, call {id, body}, claimed {code}, firmware {version, hex}.
"""

import json
import sys
import time

from tb_device_mqtt import TBDeviceMqttClient

PATIENCE_S = 50


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


def wait_until(what, holds):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            sys.exit("did not happen in time: " + what)
        time.sleep(0.01)


def answer(client, number, body):
    say("call", id=number, body=body)
    client.send_rpc_reply(number, {"answer": body.get("params")})


def obey(client, command):
    verb = command["do"]
    if verb == "telemetry":
        say("telemetry", code=client.send_telemetry(command["values"]).get())
    elif verb == "attributes":
        say("attributes", code=client.send_attributes(command["values"]).get())
    elif verb == "request":
        client.request_attributes(
            client_keys=command.get("client"),
            shared_keys=command.get("shared"),
            callback=lambda body, error: say("response", body=body),
        )
    elif verb == "watch":
        client.subscribe_to_attribute(command["key"], lambda body, error: say("update", body=body))
        say("watching", key=command["key"])
    elif verb == "limits":
        client.send_rpc_call("getSessionLimits", {"timeout": 5000}, lambda number, body, error: say("limits", body=body))
    elif verb == "serve":
        client.set_server_side_rpc_request_handler(lambda number, body: answer(client, number, body))
        say("serving")
    elif verb == "claim":
        say("claimed", code=client.claim(command["secret"], command["duration_ms"]).get())
    elif verb == "update":
        client.set_on_firmware_received_callback(lambda c, bytes, version: say("firmware", version=version, hex=bytes.hex()))
        client.get_firmware_update()
    else:
        sys.exit("unknown command " + verb)


def main():
    host, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    client = TBDeviceMqttClient(host, port, token, chunk_size=1000)
    client.connect()
    wait_until("the SDK is connected", client.is_connected)
    wait_until("the SDK has its session limits", lambda: client.rate_limits_received)
    say("connected")
    for line in sys.stdin:
        obey(client, json.loads(line))
    client.disconnect()


main()
