"""A thermometer that knows nothing of MQTT or ThingsBoard: a gateway polls it over HTTP. Says what it is told as JSON lines.

GET /reading answers its serial number and temperature; POST /set/KEY and /call/METHOD are said and answered with what came.
Events: listening {address}, polled (once), set {key, body}, call {method, body}.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def say(event, **details):
    print(json.dumps({"event": event, **details}), flush=True)


class Thermometer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    polled = False

    def do_GET(self):
        if not Thermometer.polled:
            Thermometer.polled = True
            say("polled")
        self.answer({"serial": "SIM-1", "temperature": 21.5})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        kind, name = self.path.strip("/").split("/", 1)
        if kind == "set":
            say("set", key=name, body=body)
        else:
            say("call", method=name, body=body)
        self.answer({"method": name, "done": True})

    def answer(self, value):
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Thermometer)
say("listening", address="http://127.0.0.1:%d" % server.server_address[1])
server.serve_forever()
