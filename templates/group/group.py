"""Run this host's part of a service that several hosts run together: its engine starts when all are there, and ends when one of them is gone.

    group.py        in the folder of a release, whose spec.json has `group`; it runs ./engine

The first host listens on its port `watch`. Each other one, a follower, holds a connection to it for as long as its engine runs: so an engine of
one start never waits for, or meets, one of another start. A connection that closes (an engine, a runner or a host ended) or is silent for
`silence` seconds (the link is cut) ends the engines at both ends of it, with AGAIN: foreground.py restarts the part, and counts no failure.
An engine that ends by itself is the failure of its own host. The first host asks for real completions, too, because an engine whose followers are
dead calls itself healthy. ../../group.json says how far it is: waiting, running or answering. Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import http.client
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.parse

AGAIN = 75  # as in foreground.py
BEAT = 2.0  # seconds between two signs of life
LONGEST = 4096  # bytes of a line
END = 10.0  # seconds that an engine gets to end once its group is broken
BEFORE_HELLO = 10.0
CONSEQUENCE = 3.0  # seconds within which the end of another host's part explains the end of this engine
LEADER_ENDS_TOO = 4.0  # a follower that is stopped waits so long for word that the first host stops as well, and drains
EACH = 30.0  # seconds between two questions
FIRST, SOON = 2.0, 5.0  # the same until the first answer, and after an error
MARGIN = 30.0  # seconds that an answer may take beyond the longest step of the engine
ERRORS = 3  # answers in a row that are errors of the server
SIOCGIFADDR = 0x8915


class Broken(Exception):
    """The group is not whole any more; why."""


class Ended(Broken):
    """Another host's part has ended; its host and the link to it are there."""


def say(text: str) -> None:
    print("group: " + text, flush=True)


def interface_of(address: str) -> str:
    """The network interface that has the address; empty if none has."""
    if ":" in address:
        packed = socket.inet_pton(socket.AF_INET6, address).hex()
        with contextlib.suppress(OSError), open("/proc/net/if_inet6", encoding="ascii") as source:
            return next((line.split()[5] for line in source if line.split()[0] == packed), "")
        return ""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                row = fcntl.ioctl(probe.fileno(), SIOCGIFADDR, struct.pack("256s", name.encode()))
                if socket.inet_ntoa(row[20:24]) == address:
                    return name
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):  # one of several addresses of an interface
        done = subprocess.run(
            ["ip", "-o", "addr", "show", "to", address], capture_output=True, text=True, timeout=10, check=False
        )
        return done.stdout.split()[1].partition("@")[0] if done.stdout.split()[1:] else ""
    return ""


class Link:
    """One connection to another host of the group: lines of JSON both ways, and when it was heard last."""

    def __init__(self, connection: socket.socket, host: str = "") -> None:
        connection.setblocking(False)
        self.socket, self.host, self.rank = connection, host, 0
        self.heard = self.began = time.monotonic()
        self.rest = b""
        self.open = True

    def send(self, **words: object) -> None:
        with contextlib.suppress(OSError):  # a peer that takes nothing is soon silent, too
            self.socket.send(json.dumps(words).encode() + b"\n")

    def read(self) -> list:
        """Whole lines that have come. A connection that closes, or says what is no line of ours, is not `open` any more."""
        try:
            data = self.socket.recv(65536)
        except BlockingIOError:
            return []
        except OSError:
            data = b""
        self.open = self.open and bool(data)
        self.heard = time.monotonic()
        *lines, self.rest = (self.rest + data).split(b"\n")
        try:
            found = [json.loads(line) for line in lines]
        except (ValueError, RecursionError):
            found = [None]
        if len(self.rest) > LONGEST or not all(isinstance(one, dict) for one in found):
            self.open = False
            return []
        return found

    def close(self) -> None:
        self.open = False
        self.socket.close()


class Part:
    """This host's part of the group."""

    def __init__(self, folder: str, spec: dict) -> None:
        group = spec["group"]
        self.folder, self.spec, self.group = folder, spec, group
        self.rank, self.silence = int(group["rank"]), float(group["silence"])
        self.links: dict = {}  # rank: Link, of whole connections
        self.newcomers: list = []
        self.listener: socket.socket | None = None
        self.child: subprocess.Popen | None = None
        self.stopping = self.leader_stops = self.answers = self.going = False
        self.stopped = 0.0
        self.refusal = ""
        self.beaten = 0.0
        self.trouble = ""  # what the question found
        self.state: dict = {}
        self.interface_name = self.group["interface"] or ""

    def name(self, rank: int) -> str:
        return f"{self.group['members'][rank]} ({self.group['addresses'][rank]})"

    def note(self, state: str, missing: list) -> None:
        found = {"state": state, "missing": missing, "rank": self.rank, "leader": self.group["leader"], "pid": os.getppid(),
                 "interface": self.interface_name}  # fmt: skip
        if found == self.state:
            return
        self.state = found
        path = os.path.join(self.folder, "group.json")
        with open(path + ".part", "w", encoding="utf-8") as out:
            json.dump(dict(found, since=time.time()), out)
        os.rename(path + ".part", path)
        say(
            "waiting for " + ", ".join(missing)
            if missing
            else {"running": "all hosts are there; the engine starts", "answering": "it answers"}.get(state, state)
        )

    def listen(self) -> None:
        """The first host's side: wait for connections."""
        address, port = self.group["address"], int(self.group["ports"]["watch"])
        found = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            found.bind((address, port))
        except OSError as error:
            say(
                f"{address} port {port} can't be bound ({error.strerror}); free it, or set hosts_port in the service's row"
            )
            sys.exit(1)
        found.listen(16)
        found.setblocking(False)
        self.listener = found

    def call(self) -> None:
        """A follower's side: connect, from its own address."""
        place = (self.group["addresses"][0], int(self.group["ports"]["watch"]))
        try:
            connection = socket.create_connection(place, timeout=5, source_address=(self.group["address"], 0))
        except OSError:
            return
        link = Link(connection, self.name(0))
        link.send(group=self.group["digest"], rank=self.rank)
        self.links[0] = link

    def wait(self, seconds: float) -> None:
        """Hear what comes within so many seconds, and give signs of life."""
        every = [*self.links.values(), *self.newcomers]
        sockets = [link.socket for link in every if link.open] + ([self.listener] if self.listener else [])
        ready = set(select.select(sockets, [], [], seconds)[0]) if sockets else time.sleep(seconds) or set()
        if self.listener in ready:
            with contextlib.suppress(OSError):
                connection, address = self.listener.accept()
                if address[0] in self.group["addresses"][1:]:
                    self.newcomers.append(Link(connection))
                else:
                    connection.close()
        for link in every:
            if link.socket in ready:
                for words in link.read():
                    self.hear(link, words)
        if time.monotonic() - self.beaten >= BEAT:
            self.beaten = time.monotonic()
            for link in self.links.values():
                link.send(beat=1, answers=self.answers, stopping=self.stopping)
        for link in list(self.newcomers):
            if not link.open or time.monotonic() - link.began > BEFORE_HELLO:
                self.newcomers.remove(link)
                link.close()

    def hear(self, link: Link, words: dict) -> None:
        if self.rank:
            self.leader_stops = bool(words.get("stopping")) or self.leader_stops
            self.answers = bool(words.get("answers"))
            self.going = bool(words.get("go")) or self.going
            if words.get("refused"):
                if words["refused"] != self.refusal:
                    self.refusal = words["refused"]
                    say(f"{link.host} refuses this host: {self.refusal}")
                link.close()
            return
        if link not in self.newcomers or "group" not in words:
            return
        rank = words.get("rank")
        if words["group"] != self.group["digest"] or rank not in range(1, int(self.group["size"])):
            link.send(refused="it has another release than this host; deploy all hosts of the service in one run")
            self.newcomers.remove(link)
            link.close()
            return
        self.newcomers.remove(link)
        link.rank, link.host = rank, self.name(rank)
        if rank in self.links:
            self.links[rank].close()
            if self.child is not None:
                link.close()  # it calls again
                raise Broken(f"{link.host} has restarted")
        self.links[rank] = link

    def check(self) -> None:
        """Raise Broken where another host is gone."""
        for link in self.links.values():
            if not link.open:
                raise Ended(f"{link.host} has ended its part")
            if time.monotonic() - link.heard > self.silence:
                raise Broken(
                    f"{link.host} has been silent for {self.silence:.0f} s: its host or the link to it is down"
                )

    def gather(self) -> None:
        """Wait until all hosts are there; without end, as the others may come back at any time. A stop ends it."""
        if not self.rank:
            self.listen()
        others = range(1, int(self.group["size"])) if not self.rank else [0]
        while not self.stopping:
            for rank, link in list(self.links.items()):
                if not link.open or time.monotonic() - link.heard > self.silence:
                    link.close()
                    del self.links[rank]
            missing = [rank for rank in others if rank not in self.links]
            if not missing and (not self.rank or self.going):
                return
            self.note("waiting", [self.name(rank) for rank in missing or others])
            if self.rank and missing:
                self.call()
            self.wait(1.0)

    def end(self) -> None:
        """End the engine of a broken group: what it was asked can't be answered any more."""
        child = self.child
        for number in (signal.SIGTERM, signal.SIGKILL):
            if child is not None and child.poll() is None:
                child.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(END)

    def run(self) -> int:
        """The engine, until it ends or the group is broken: its exit code, or AGAIN."""
        environment = dict(os.environ, GROUP_INTERFACE=self.interface())
        if not self.rank:
            for link in self.links.values():
                link.send(go=1)
        self.note("running", [])
        self.child = subprocess.Popen(["/bin/sh", "./engine"], stdin=subprocess.DEVNULL, env=environment)
        if not self.rank:
            threading.Thread(target=self.question, daemon=True).start()
        passed = False
        try:
            while self.child.poll() is None:
                self.wait(0.5)
                self.note("answering" if self.answers else "running", [])
                if self.stopping and not passed:
                    passed = self.pass_stop()
                self.check()
                if self.trouble and not self.stopping:
                    raise Broken(self.trouble)
            until = time.monotonic() + CONSEQUENCE
            while not self.stopping and time.monotonic() < until:
                self.wait(0.2)
                self.check()
        except Broken as why:
            say(str(why))
            self.note("ending", [])
            self.end()
            if self.stopping:
                return 0
            failed = self.trouble or (isinstance(why, Ended) and not self.leader_stops)
            return 1 if failed and not self.answers else AGAIN  # a start that fails counts, on whichever host it did
        # vLLM's server ends with 0 when its engine has died.
        return int(self.child.returncode) or int(not self.stopping)

    def pass_stop(self) -> bool:
        """Pass a stop on to the engine. A follower's waits while the first host's drains, which needs it."""
        if self.rank and (self.leader_stops or time.monotonic() - self.stopped < LEADER_ENDS_TOO):
            return False  # the first host's end closes the connection
        if self.child is not None and self.child.poll() is None:
            self.child.send_signal(signal.SIGTERM)
        return True

    def stop(self, *_: object) -> None:
        self.stopping, self.stopped = True, time.monotonic()

    def interface(self) -> str:
        found = self.group["interface"] or interface_of(self.group["address"])
        if not found:
            say(
                f"no network interface of this host has the address {self.group['address']}; correct group_address and deploy"
            )
            sys.exit(1)
        self.interface_name = str(found)
        return self.interface_name

    # The first host asks for real answers.

    def ask(self, path: str, body: dict | None, limit: float) -> tuple:
        """(status, text); status 0 where there was no whole answer within the limit, whatever trickles."""
        headers = {"Content-Type": "application/json"}
        if self.spec.get("api_key"):
            with open(os.path.join(self.folder, "api_key"), encoding="ascii") as source:
                headers["Authorization"] = "Bearer " + source.readline().strip()
        parts, until = urllib.parse.urlsplit(self.spec["endpoint"]), time.monotonic() + limit
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=limit)
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException), contextlib.ExitStack() as after:
            after.callback(connection.close)
            connection.connect()
            ender = threading.Timer(limit, connection.sock.shutdown, [socket.SHUT_RDWR])
            ender.daemon = True
            ender.start()
            after.callback(ender.cancel)
            connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
            answer = connection.getresponse()
            text = answer.read(1 << 20).decode("utf-8", "replace")
            if time.monotonic() < until:
                return answer.status, text
        return 0, ""

    def tokens(self) -> str:
        """The counters of generated tokens, as text to be compared."""
        text = self.ask("/metrics", None, 10)[1]
        return "".join(
            sorted(line for line in text.splitlines() if "generation_tokens_total" in line and line[0] != "#")
        )

    def question(self) -> None:
        """Ask for one token again and again. Sets `answers`, and `trouble` where no answer comes."""
        limit, errors = float(self.group["step_seconds"]) + MARGIN, 0
        body = {"model": self.spec["served_name"], "prompt": "1", "max_tokens": 1, "temperature": 0}
        until = time.monotonic() + float(self.spec["ready_timeout"])
        while not self.stopping:
            if not self.answers:
                self.answers = self.ask("/v1/completions", body, limit)[0] == 200
                if not self.answers and time.monotonic() > until:
                    self.trouble = f"no answer within the {self.spec['ready_timeout']} s of ready_timeout"
                    return
                time.sleep(FIRST)
                continue
            time.sleep(SOON if errors else EACH)
            before = self.tokens()
            began = time.monotonic()
            status = self.ask("/v1/completions", body, limit)[0]
            if 0 < status < 500 or status == 503:
                errors = 0
                continue
            if not status and time.monotonic() - began >= limit - 1:
                if self.tokens() not in ("", before):
                    continue  # it is busy with others
                self.trouble = f"no answer to a real question within {limit:.0f} s"
                return
            errors += 1
            if errors >= ERRORS:
                self.trouble = f"{errors} errors (HTTP {status or 'none'}) in a row to a real question"
                return


def main() -> int:
    with open("spec.json", encoding="utf-8") as source:
        spec = json.load(source)
    part = Part(os.path.realpath(os.path.join("..", "..")), spec)
    signal.signal(signal.SIGTERM, part.stop)
    signal.signal(signal.SIGINT, part.stop)
    part.gather()
    return 0 if part.stopping else part.run()


if __name__ == "__main__":
    sys.exit(main())
