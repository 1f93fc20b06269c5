"""ThingsBoard's own device SDK (tb-mqtt-client), scripted: commands as JSON lines on stdin, events as JSON lines on stdout.

usage: sdk_client.py HOST PORT TOKEN

Commands: {"do": "telemetry", "values"}, {"do": "attributes", "values"}, {"do": "request", "client": [..], "shared": [..]},
{"do": "watch", "key"}, {"do": "limits"}.
Events: connected (the SDK's own getSessionLimits was answered, too), telemetry {code}, attributes {code}, response {body},
watching {key}, update {body}, limits {body}.
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


def main():
    host, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    client = TBDeviceMqttClient(host, port, token)
    client.connect()
    wait_until("the SDK is connected", client.is_connected)
    wait_until("the SDK has its session limits", lambda: client.rate_limits_received)
    say("connected")
    for line in sys.stdin:
        command = json.loads(line)
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
        else:
            sys.exit("unknown command " + verb)
    client.disconnect()


main()
