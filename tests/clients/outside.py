"""What rule nodes call: an HTTP server and, if asked for, an SMTP sink. Says as JSON lines where it listens and what it was told.

Arguments: the HTTP port (0: any), and "smtp" for the sink, which needs aiosmtpd, or "tls" with an authority's certificate, the server's
and its key, for HTTPS at a port of its own to whoever shows a certificate of that authority.
Under "/api/" it answers as Slack's Web API does, by its documentation; it knows one channel, "C1", and one token, "xoxb-1".
The first two calls of a path with "busy" are answered 503, those of a path with "refuse" 404; others 200 with ten times the body's "n".
"""

import asyncio
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

lock = threading.Lock()
busy = {}


def say(event, **fields):
    with lock:
        print(json.dumps({"event": event, **fields}), flush=True)


def secure(handler):
    return isinstance(handler.connection, ssl.SSLSocket)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/api/chat.postMessage":
            return self.slack(json.loads(body))
        peer = dict(pair for part in self.connection.getpeercert()["subject"] for pair in part) if secure(self) else {}
        peer = peer.get("commonName")
        key = self.headers.get("Idempotency-Key")
        say("call", path=self.path, key=key, kind=self.headers.get("X-Kind"), body=body, peer=peer)
        status = 200
        if "refuse" in self.path:
            status = 404
        elif "busy" in self.path:
            busy[self.path] = busy.get(self.path, 0) + 1
            status = 503 if busy[self.path] <= 2 else 200
        answer = json.dumps({"answer": 10 * json.loads(body).get("n", 0)}).encode() if status == 200 else b"no"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def slack(self, message):
        say("slack", message=message, token=self.headers.get("Authorization"))
        error = None if self.headers.get("Authorization") == "Bearer xoxb-1" else "invalid_auth"
        if error is None and message.get("channel") != "C1":
            error = "channel_not_found"
        answer = json.dumps({"ok": False, "error": error} if error else {"ok": True, "channel": "C1", "ts": "1.2"}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


class Sink:
    async def handle_DATA(self, server, session, envelope):
        from email import message_from_bytes
        from email.policy import default

        mail = message_from_bytes(envelope.content, policy=default)
        body = mail.get_content().strip()
        say("mail", to=envelope.rcpt_tos, sender=envelope.mail_from, subject=mail["Subject"], id=mail["Message-ID"], body=body)
        return "250 OK"


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler)
ports = {"http": server.server_address[1]}
if "smtp" in sys.argv[2:]:
    from aiosmtpd.controller import UnthreadedController

    # Its threaded sibling connects to the port it was given, which fails where the system chooses one.
    controller = UnthreadedController(Sink(), hostname="127.0.0.1", port=0, loop=asyncio.new_event_loop())
    controller.begin()
    ports["smtp"] = controller.server.sockets[0].getsockname()[1]
    threading.Thread(target=controller.loop.run_forever, daemon=True).start()
if "tls" in sys.argv[2:]:
    authority, certificate, key = sys.argv[3:6]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    guarded = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    guarded.socket = context.wrap_socket(guarded.socket, server_side=True)
    ports["https"] = guarded.server_address[1]
    threading.Thread(target=guarded.serve_forever, daemon=True).start()
say("listening", **ports)
server.serve_forever()
