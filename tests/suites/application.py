"""What stands behind the platform in place of the other half of a broker: a program of a tenant, as anybody could write one
over REST and WebSocket. It registers devices, sees what they said once the platform has stored it, and sends it to the
devices that want it as an update of a shared attribute. Never speaks MQTT."""

import http.client
import json
import secrets
import threading

import websocket
from translation import unwrap

USER, PASSWORD = "tenant@thingsboard.org", "tenant"
WAIT_S = 15
# What the scripts' password files hold the hash of.
PASSWORD_OF_FILES = "password"


class Refused(Exception):
    """Any status but 200."""

    def __init__(self, status, text):
        super().__init__(f"{status}: {text}")
        self.status = status


class Rest:
    """The platform's REST as the tenant's administrator, who logs in unless there is a token already: logins are limited."""

    def __init__(self, address, token=None):
        self.address, self.token = address, token
        if not token:
            self.token = self.post("/api/auth/login", {"username": USER, "password": PASSWORD})["token"]

    def get(self, path):
        return self._ask("GET", path, None)

    def post(self, path, body):
        return self._ask("POST", path, json.dumps(body))

    def _ask(self, method, path, body):
        headers = {"Content-Type": "application/json"}
        if self.token:
            headers["X-Authorization"] = f"Bearer {self.token}"
        connection = http.client.HTTPConnection(*self.address, timeout=WAIT_S)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        if answer.status != 200:
            raise Refused(answer.status, text)
        return json.loads(text) if text else None


class Application:
    """Sends every message that a device of its own said to each of its devices for which `is_for(client id, topic)` holds."""

    def __init__(self, rest, is_for, devices):
        """`devices`: client id → {"id", "token"} of devices that exist already."""
        self.rest = rest
        self.is_for = is_for
        self.devices = devices
        self.watched = {}
        self.sent = 0
        self.lock = threading.RLock()
        origin = "ws://{}:{}".format(*rest.address)
        self.socket = websocket.create_connection(f"{origin}/api/ws/plugins/telemetry?token={rest.token}", timeout=WAIT_S)
        self.socket.settimeout(None)
        threading.Thread(target=self._listen, daemon=True).start()
        for device in list(devices.values()):
            self._watch(device)

    def token(self, client_id):
        """The access token of the client's device, registered on demand. Who has no name is another one each time."""
        with self.lock:
            if client_id not in self.devices or not client_id:
                token = secrets.token_hex(10)
                body = {"name": f"suite {token}", "type": "default"}
                saved = self.rest.post(f"/api/device?accessToken={token}", body)
                self.devices[client_id] = {"id": saved["id"]["id"], "token": token}
                self._watch(self.devices[client_id])
            return self.devices[client_id]["token"]

    def register_user(self, name):
        """A device that shows a user name and a password."""
        credentials = {"credentialsType": "MQTT_BASIC", "credentialsId": name}
        credentials["credentialsValue"] = json.dumps({"userName": name, "password": PASSWORD_OF_FILES})
        # The same script registers it again for another version of the protocol.
        if not self.rest.get(f"/api/tenant/devices?pageSize=1&page=0&textSearch=suite-user-{name}")["data"]:
            device = {"name": f"suite-user-{name}", "type": "default"}
            self.rest.post("/api/device-with-credentials", {"device": device, "credentials": credentials})

    def _watch(self, device):
        number = len(self.watched) + 1
        self.watched[number] = threading.Event()
        of = {"entityType": "DEVICE", "entityId": device["id"], "scope": "LATEST_TELEMETRY", "keys": "message"}
        self.socket.send(json.dumps({"tsSubCmds": [{"cmdId": number, **of}], "historyCmds": [], "attrSubCmds": []}))
        if not self.watched[number].wait(WAIT_S):
            raise RuntimeError("the platform does not answer a telemetry subscription")

    def _listen(self):
        while text := self._heard():
            update = json.loads(text)
            first = self.watched.get(update.get("subscriptionId"))
            if first is None or update.get("errorCode"):
                continue
            if not first.is_set():
                # A snapshot: what was said before anybody listened.
                first.set()
                continue
            for _, said in reversed((update.get("data") or {}).get("message", [])):
                self._forward(said)

    def _heard(self):
        """The next frame; nothing once the platform is gone."""
        try:
            return self.socket.recv()
        except (OSError, websocket.WebSocketConnectionClosedException):
            return None

    def _forward(self, said):
        topic, _ = unwrap(said)
        for client_id, device in list(self.devices.items()):
            if self.is_for(client_id, topic):
                self.sent += 1
                # A key of its own for each: an attribute is a value, and a device that was away gets only its last one.
                path = f"/api/plugins/telemetry/DEVICE/{device['id']}/attributes/SHARED_SCOPE"
                self.rest.post(path, {f"message{self.sent}": said})
