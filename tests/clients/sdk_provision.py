"""Provisioning by ThingsBoard's own device SDK (tb-mqtt-client): asks once and ends.

usage: sdk_provision.py HOST PORT REQUEST

The request is a JSON object with the arguments of TBDeviceMqttClient.provision: provision_device_key, provision_device_secret,
device_name and, as wanted, access_token, client_id, username, password, hash, gateway.
Event: credentials {body}; the body is null when it was refused.
"""

import json
import sys

from tb_device_mqtt import TBDeviceMqttClient

host, port, request = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
body = TBDeviceMqttClient.provision(host, port=port, **request)
print(json.dumps({"event": "credentials", "body": body}), flush=True)
