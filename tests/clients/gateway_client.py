"""ThingsBoard's gateway client (tb-mqtt-client), scripted: commands as JSON lines on stdin, events as JSON lines on stdout.

usage: gateway_client.py HOST PORT TOKEN

Commands: {"do": "connect", "device", "type"}, {"do": "disconnect", "device"}, {"do": "telemetry", "device", "values"},
{"do": "attributes", "device", "values"}, {"do": "request", "device", "scope": "client"|"shared", "keys"}, {"do": "watch",
"device"}, {"do": "claim", "device", "secret", "duration_ms"}. Calls are answered with their params.
Events: connected (the SDK's own getSessionLimits was answered, too), done {code} for each command that publishes, response
{body}, watching {device}, update {body}, call {body}.
"""

import json
import sys
import time

from tb_gateway_mqtt import TBGatewayMqttClient

PATIENCE_S = 50


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


def wait_until(what, holds):
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > deadline:
            sys.exit("did not happen in time: " + what)
        time.sleep(0.01)


def answer(client, body):
    say("call", body=body)
    client.gw_send_rpc_reply(body["device"], body["data"]["id"], {"answer": body["data"].get("params")})


def obey(client, command):
    verb, device = command["do"], command["device"]
    if verb == "connect":
        say("done", code=client.gw_connect_device(device, command.get("type", "default")).get())
    elif verb == "disconnect":
        say("done", code=client.gw_disconnect_device(device).get())
    elif verb == "telemetry":
        say("done", code=client.gw_send_telemetry(device, command["values"]).get())
    elif verb == "attributes":
        say("done", code=client.gw_send_attributes(device, command["values"]).get())
    elif verb == "request":
        ask = client.gw_request_client_attributes if command["scope"] == "client" else client.gw_request_shared_attributes
        ask(device, command["keys"], lambda body, error: say("response", body=body))
    elif verb == "watch":
        client.gw_subscribe_to_all_device_attributes(device, lambda body: say("update", body=body))
        say("watching", device=device)
    elif verb == "claim":
        say("done", code=client.gw_claim(device, command["secret"], command["duration_ms"]).get())
    else:
        sys.exit("unknown command " + verb)


def main():
    host, port, token = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    client = TBGatewayMqttClient(host, port, token)
    client.gw_set_server_side_rpc_request_handler(answer)
    client.connect()
    wait_until("the SDK is connected", client.is_connected)
    wait_until("the SDK has its session limits", lambda: client.rate_limits_received)
    wait_until("the SDK has subscribed", lambda: not client.get_subscriptions_in_progress())
    say("connected")
    for line in sys.stdin:
        obey(client, json.loads(line))
    client.disconnect()


main()
