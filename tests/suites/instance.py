"""Starts and ends Tidegate processes on free ports of this machine. Never ends one that it did not start."""

import os
import re
import signal
import subprocess
import time

START_S_MAX = 60


class Instance:
    """A running Tidegate with the demo's users; its addresses are (host, port)."""

    def __init__(self, binary, home, shards):
        """Starts it with its data, output and log in `home`, and waits until it is ready."""
        os.makedirs(home, exist_ok=True)
        self.output = os.path.join(home, "output")
        arguments = [binary, "standalone", "--demo", "--data-dir", os.path.join(home, "data")]
        with open(self.output, "wb") as output, open(os.path.join(home, "log"), "ab") as log:
            environment = settings(binary, shards)
            self.process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=log)
        said = self._wait()
        self.mqtt, self.http = (address(said, part) for part in ("mqtt", "http"))

    def _wait(self):
        deadline = time.monotonic() + START_S_MAX
        while time.monotonic() < deadline and self.process.poll() is None:
            with open(self.output, encoding="utf-8") as output:
                said = output.read()
            if re.search(r"^ready$", said, re.M):
                return said
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"tidegate does not start: see {os.path.dirname(self.output)}")

    def kill(self):
        """Not asked, killed: what was acknowledged has to be there afterwards."""
        self._end(signal.SIGKILL)

    def stop(self):
        """Asked to end; false if it did not by itself, or not well."""
        self._end(signal.SIGTERM)
        return self.process.returncode == 0

    def _end(self, how):
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def settings(binary, shards):
    """The environment: every listener that has an address by default gets a free port, and none of the caller's settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TIDEGATE_")}
    said = subprocess.run([binary, "check-settings"], env=environment, capture_output=True, text=True, check=True).stdout
    for section in re.findall(r"^(\w+)\.listen\s+= \d", said, re.M):
        environment[f"TIDEGATE_{section.upper()}_LISTEN"] = "127.0.0.1:0"
    environment["TIDEGATE_SHARDS"] = str(shards)
    if "TIDEGATE_DRIVER" in os.environ:
        environment["TIDEGATE_DRIVER"] = os.environ["TIDEGATE_DRIVER"]
    return environment


def address(said, part):
    host, port = re.search(rf"^listening .*\b{part}=([\d.]+):(\d+)", said, re.M).groups()
    return host, int(port)
