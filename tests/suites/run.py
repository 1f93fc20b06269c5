"""Runs what mosquitto.tsv and gmqtt.tsv say of the two suites against one Tidegate, several scripts at a time; says one line
for each and ends with their count. Never passes a script that is gone or took too long.

usage: run.py BINARY MOSQUITTO GMQTT GMQTT_PYTHON [NAME...]

MOSQUITTO and GMQTT are the unpacked sources; NAME: only scripts whose name contains it, whatever the list says of them."""

import concurrent.futures
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time

from application import Rest
from instance import Instance

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPT_S_MAX = 20
ALL_S_MAX = 300
AT_ONCE = 4
LINES_OF_FAILED = 12


class Case:
    """One line of a list: name, run or skip, and why it is skipped or what it needs."""

    def __init__(self, suite, line):
        self.suite = suite
        self.name, self.state, self.why = line.rstrip("\n").split("\t")
        if self.state not in ("run", "skip") or (self.state == "skip" and not self.why):
            sys.exit(f"{suite}.tsv: {self.name}: run, or skip with a reason")


class Mosquitto:
    """test/broker of Mosquitto's sources. Its scripts start ../../src/mosquitto, which is ours here."""

    def __init__(self, sources):
        self.folder = os.path.join(sources, "test", "broker")
        program = os.path.join(sources, "src", "mosquitto")
        with open(program, "w", encoding="utf-8") as wrapper:
            wrapper.write(f'#!/bin/sh\nexec "{sys.executable}" "{HERE}/broker.py" --announce "$@"\n')
        os.chmod(program, 0o755)
        with open(os.path.join(self.folder, "test.py"), encoding="utf-8") as listed:
            self.ports = {name: int(count) for count, name in re.findall(r"\((\d), '\./(.+?)'\)", listed.read())}

    def names(self):
        return {name for name in os.listdir(self.folder) if re.match(r"\d\d-.*\.py$", name)}

    def run(self, case, environment, deadline):
        ports = [str(port) for port in free_ports(self.ports.get(case.name, 1))]
        environment = environment | ({"SHIM_RAISE_GRANTS": "1"} if case.why == "raise-grants" else {})
        return finish([sys.executable, case.name, *ports], self.folder, environment, deadline)


class Gmqtt:
    """The tests of gmqtt's sources, each with a broker of its own."""

    def __init__(self, sources, python):
        self.folder, self.python = sources, python

    def names(self):
        names = set()
        for file in os.listdir(os.path.join(self.folder, "tests")):
            if file.startswith("test_"):
                with open(os.path.join(self.folder, "tests", file), encoding="utf-8") as tests:
                    names |= {f"{file}::{test}" for test in re.findall(r"^(?:async )?def (test_\w+)", tests.read(), re.M)}
        return names

    def run(self, case, environment, deadline):
        (port,) = free_ports(1)
        shim = [sys.executable, f"{HERE}/broker.py", "-p", str(port)]
        shim = subprocess.Popen(shim, env=environment, start_new_session=True)
        environment = environment | {"HOST": "127.0.0.1", "PORT": str(port), "USERNAME": "", "PYTHONPATH": self.folder}
        test = [self.python, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{case.name}"]
        try:
            wait_for(port)
            return finish(test, self.folder, environment, deadline)
        finally:
            end_group(shim)


def finish(arguments, folder, environment, deadline):
    """(passed, what was printed). Whatever the script started ends with it."""
    limit = max(min(SCRIPT_S_MAX, deadline - time.monotonic()), 0)
    with tempfile.TemporaryFile() as output:
        streams = {"stdin": subprocess.DEVNULL, "stdout": output, "stderr": output}
        script = subprocess.Popen(arguments, cwd=folder, env=environment, start_new_session=True, **streams)
        try:
            code, late = script.wait(timeout=limit), ""
        except subprocess.TimeoutExpired:
            code, late = None, f"not over within {limit:.0f} s\n"
        end_group(script)
        output.seek(0)
        return code == 0, late + output.read().decode(errors="replace")


def end_group(leader):
    """Ends a process that was started as the leader of a group, and what it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(leader.pid, how)
        except ProcessLookupError:
            break
        if how == signal.SIGTERM:
            time.sleep(0.1)
    leader.wait()


def free_ports(count):
    """Ports that nobody listens on now. The system gives such a port out again only after many others."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def wait_for(port):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except ConnectionRefusedError:
            time.sleep(0.02)
    raise RuntimeError("the shim does not listen")


def listed(suite, names):
    """The cases of a suite's list. What a newer suite has besides is skipped; what it has no more may not be listed as run."""
    with open(os.path.join(HERE, f"{suite}.tsv"), encoding="utf-8") as lines:
        cases = [Case(suite, line) for line in lines if line.strip() and not line.startswith("#")]
    known = [case.name for case in cases]
    gone = [case.name for case in cases if case.state == "run" and case.name not in names]
    problems = [f"{name}: in {suite}.tsv, not in the suite" for name in gone]
    problems += [f"{name}: twice in {suite}.tsv" for name in sorted(set(known)) if known.count(name) > 1]
    if problems:
        sys.exit("\n".join(problems))
    return cases + [Case(suite, f"{name}\tskip\tnot in the list yet") for name in sorted(names - set(known))]


def judge(case, suite, environment, deadline):
    """The line about a case, and passed, failed or skipped."""
    if case.state == "skip":
        return f"skipped  {'':>6}  {case.suite} {case.name}: {case.why}", "skipped"
    start = time.monotonic()
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as trouble:
        passed, printed = suite.run(case, environment | {"SHIM_TROUBLE": trouble.name}, deadline)
        in_trouble = trouble.read()
    state = "passed" if passed and not in_trouble else "failed"
    printed += in_trouble if passed else ""
    line = f"{state}   {time.monotonic() - start:4.1f} s  {case.suite} {case.name}"
    if state == "failed":
        line += "".join(f"\n    {said}" for said in printed.splitlines()[-LINES_OF_FAILED:])
    return line, state


def main():
    binary, mosquitto, gmqtt, gmqtt_python, *only = sys.argv[1:]
    suites = {"mosquitto": Mosquitto(mosquitto), "gmqtt": Gmqtt(gmqtt, gmqtt_python)}
    cases = [case for name, suite in suites.items() for case in listed(name, suite.names())]
    if only:
        cases = [case for case in cases if any(part in case.name for part in only)]
        for case in cases:
            case.state = "run"
    states = []
    with tempfile.TemporaryDirectory(prefix="tidegate-suites-") as home:
        instance = Instance(binary, os.path.join(home, "shared"), shards=2)
        try:
            environment = {name: value for name, value in os.environ.items() if not name.startswith("MOSQ_")}
            environment["SHIM_MQTT"], environment["SHIM_HTTP"] = ("{}:{}".format(*at) for at in (instance.mqtt, instance.http))
            environment["SHIM_TOKEN"] = Rest(instance.http).token
            environment["SHIM_BINARY"], environment["SHIM_HOME"] = binary, home
            environment["PYTHONDONTWRITEBYTECODE"] = "1"
            deadline = time.monotonic() + ALL_S_MAX
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                for line, state in pool.map(lambda case: judge(case, suites[case.suite], environment, deadline), cases):
                    print(line, flush=True)
                    states.append(state)
        finally:
            alive = instance.process.poll() is None
            orderly = instance.stop()
    if not (alive and orderly):
        print("failed  Tidegate itself did not live until the end, or did not end well")
        states.append("failed")
    print(", ".join(f"{states.count(state)} {state}" for state in ("passed", "failed", "skipped")))
    sys.exit("failed" in states)


main()
