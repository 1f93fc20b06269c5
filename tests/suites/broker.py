"""Stands where a suite looks for Mosquitto's program and speaks to Tidegate: listens where the script says, and passes every
connection on through a Translation. Ends on SIGTERM.

usage: broker.py [--announce] [-v] -p PORT | -c FILE

Its surroundings: SHIM_MQTT, SHIM_HTTP (HOST:PORT of a running Tidegate), SHIM_TOKEN (of REST there), SHIM_BINARY and
SHIM_HOME (to start one of its own, for a script that keeps state across a restart of the broker), SHIM_TROUBLE (a file for
what went wrong here, as a script may take a lost connection for what it expects), SHIM_RAISE_GRANTS=1. Never answers anything
itself."""

import hashlib
import json
import os
import shutil
import signal
import socket
import sys
import threading
import traceback

import packets
from application import Application, Rest
from instance import Instance
from translation import Session, Translation

CHUNK = 65536


class Settings:
    """What of the script's command line and configuration file matters here."""

    def __init__(self, arguments):
        self.announce = "--announce" in arguments
        self.ports, self.anonymous, self.password_file, self.kept_in = [], True, None, None
        if "-p" in arguments:
            self.ports = [int(arguments[arguments.index("-p") + 1])]
        if "-c" in arguments:
            self.anonymous = False
            with open(arguments[arguments.index("-c") + 1], encoding="utf-8") as lines:
                for line in lines:
                    self._read(line.split())

    def _read(self, words):
        if len(words) < 2:
            return
        name, value = words[0], words[1]
        if name in ("port", "listener"):
            self.ports.append(int(value))
        elif name == "allow_anonymous":
            self.anonymous = value == "true"
        elif name == "password_file":
            self.password_file = value
        elif name == "persistence_file":
            self.kept_in = value


class Broker:
    def __init__(self, settings):
        self.settings = settings
        self.sessions = {}
        self.instance = None
        self.application = None
        self.ready = threading.Event()

    def start(self):
        """Finds or starts Tidegate. Scripts connect meanwhile and are served when it is there."""
        devices = {}
        if self.settings.kept_in:
            devices = self._restored()
            self.instance = Instance(os.environ["SHIM_BINARY"], self._home(), shards=1)
            self.mqtt, rest = self.instance.mqtt, Rest(self.instance.http)
        else:
            self.mqtt = parsed(os.environ["SHIM_MQTT"])
            rest = Rest(parsed(os.environ["SHIM_HTTP"]), os.environ["SHIM_TOKEN"])
        self.application = Application(rest, self._is_for, devices)
        if self.settings.password_file:
            with open(self.settings.password_file, encoding="utf-8") as lines:
                for line in lines:
                    self.application.register_user(line.split(":")[0])
        self.ready.set()

    def stop(self):
        """A broker that persists ends as if its machine had: its Tidegate is killed, and only its own notes are written."""
        if self.instance:
            self.instance.kill()
            sessions = {name.decode(): session.stored() for name, session in self.sessions.items()}
            devices = {name.decode(): device for name, device in self.application.devices.items()}
            with open(self.settings.kept_in, "w", encoding="utf-8") as notes:
                json.dump({"sessions": sessions, "devices": devices}, notes)

    def _home(self):
        return os.path.join(os.environ["SHIM_HOME"], hashlib.sha256(self.settings.kept_in.encode()).hexdigest()[:16])

    def _restored(self):
        """The devices of the last start; a script deletes the file to begin anew."""
        if not os.path.exists(self.settings.kept_in):
            shutil.rmtree(self._home(), ignore_errors=True)
            return {}
        with open(self.settings.kept_in, encoding="utf-8") as notes:
            kept = json.load(notes)
        self.sessions = {name.encode(): Session.restored(stored) for name, stored in kept["sessions"].items()}
        return {name.encode(): device for name, device in kept["devices"].items()}

    def _is_for(self, client_id, topic):
        session = self.sessions.get(client_id)
        return session is not None and session.wants(topic)

    def _admit(self, client_id):
        token = self.application.token(client_id) if self.settings.anonymous else None
        return token, self.sessions.setdefault(client_id, Session())

    def serve(self, client):
        """One connection of the script. Tidegate hears of it with its first byte, so that a look whether somebody listens
        is no connection there."""
        translation = Translation(self._admit, self.settings.announce, os.environ.get("SHIM_RAISE_GRANTS") == "1")
        server = None
        try:
            pending = bytearray(receive(client))
            self.ready.wait()
            server = connected(self.mqtt)
            threading.Thread(target=self._back, args=(server, client, translation), daemon=True).start()
            pump(client, server, translation.to_server, pending)
        except Over:
            pass
        finally:
            close(client)
            if server:
                close(server)

    @staticmethod
    def _back(server, client, translation):
        try:
            pump(server, client, translation.to_client, bytearray())
        except Over:
            pass
        finally:
            # What the script still sends is read on, so that it sees an orderly end after the last packet.
            shut(client, socket.SHUT_WR)

    def listen(self):
        for port in self.settings.ports:
            listener = socket.create_server(("127.0.0.1", port), backlog=64)
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def _accept(self, listener):
        while True:
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()


class Over(Exception):
    """A connection ended, in whichever way."""


def pump(source, sink, translate, pending):
    """Passes packets on until a connection is over; from the first bytes on that are no packet, just bytes."""
    readable = True
    while True:
        while readable and pending:
            try:
                found = packets.frame(pending)
            except packets.Unreadable:
                readable = False
                break
            if found is None:
                break
            first, body, taken = found
            try:
                out = translate(first, body)
            except packets.Unreadable:
                out = bytes(pending[:taken])
            del pending[:taken]
            send(sink, out)
        if not readable:
            send(sink, pending)
            pending.clear()
        pending += receive(source)


def receive(source):
    try:
        chunk = source.recv(CHUNK)
    except OSError as error:
        raise Over from error
    if not chunk:
        raise Over
    return chunk


def send(sink, chunk):
    try:
        sink.sendall(chunk)
    except OSError as error:
        raise Over from error


def connected(address):
    server = socket.create_connection(address)
    server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return server


def shut(end, how):
    try:
        end.shutdown(how)
    except OSError:
        pass


def close(end):
    shut(end, socket.SHUT_RDWR)
    end.close()


def parsed(address):
    host, port = address.rsplit(":", 1)
    return host, int(port)


def report(trouble):
    """Says it where the runner looks, and where the script shows it."""
    text = "".join(traceback.format_exception(trouble))
    with open(os.environ["SHIM_TROUBLE"], "a", encoding="utf-8") as file:
        file.write(text)
    sys.stderr.write(text)


def main():
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda number, stack: ended.set())
    threading.excepthook = lambda raised: report(raised.exc_value)
    broker = Broker(Settings(sys.argv[1:]))
    broker.listen()
    try:
        broker.start()
        ended.wait()
        # What breaks off from now on is what was asked for.
        threading.excepthook = lambda raised: None
        broker.stop()
    except Exception as trouble:
        report(trouble)
    sys.stderr.flush()
    # Threads of connections are waiting for bytes that nobody will send.
    os._exit(0)


main()
