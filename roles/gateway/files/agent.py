#!/usr/bin/env python3
"""Tells HAProxy which backends give real answers. Standard library only, Python 3.8.

    agent.py agent.json backend_keys.map

Each backend is asked for one token again and again. It is up if it answers, or if its metrics count new tokens meanwhile: a full engine
answers late and is not hung. HAProxy's agent check sends a backend's id and gets `up` or `down`; whether the process listens, HAProxy
asks itself. Where this process is gone, HAProxy keeps what it heard last.
"""

import contextlib
import http.client
import json
import re
import socket
import socketserver
import sys
import threading
import time
import urllib.parse

PAUSE = 5  # seconds between two questions to a backend
QUESTION = {"messages": [{"role": "user", "content": "1"}], "max_tokens": 1, "temperature": 0}
MOST = 1 << 20  # bytes of an answer that are read
STATES = {}  # id -> (is it up, why)


def read_key(path, pool):
    """The pool's key as it is now, None where there is none."""
    try:
        with open(path, encoding="utf-8") as lines:
            rows = (line.split() for line in lines)
            return next((row[1] for row in rows if len(row) == 2 and row[0] == pool), None)
    except (OSError, ValueError):
        return None


def ask(url, method, path, key, body, seconds):
    """(status, text). Raises OSError or HTTPException. The whole exchange may take twice the seconds at most, whatever trickles."""
    parts = urllib.parse.urlsplit(url)
    until = time.monotonic() + 2 * seconds
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=seconds)
    connection.connect()
    ender = threading.Timer(max(0, until - time.monotonic()), end, [connection.sock])
    ender.daemon = True
    ender.start()
    try:
        headers = {"Content-Type": "application/json"}
        if key:
            headers["Authorization"] = "Bearer " + key
        connection.request(method, path, json.dumps(body) if body else None, headers)
        answer = connection.getresponse()
        text = answer.read(MOST).decode("utf-8", "replace")
        if time.monotonic() >= until:  # an answer that was ended looks like a whole one
            raise TimeoutError
        return answer.status, text
    finally:
        ender.cancel()
        connection.close()


def end(line):
    """End a connection for whoever reads from it; to close it would wait for the reader."""
    with contextlib.suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def tokens(backend, key):
    """Tokens that the engine has made or read so far; None where it doesn't tell."""
    try:
        status, text = ask(backend["url"], "GET", "/metrics", key, None, 10)
        found = re.findall(r"^[a-z_:]*(?:generation|prompt)_tokens_total(?:\{[^}\n]*\})?[ \t]+([0-9.e+]+)", text, re.M)
        return sum(float(value) for value in found) if status == 200 and found else None
    except (OSError, http.client.HTTPException, ValueError):
        return None


def judge(backend, key):
    """(is it up, why)."""
    before = tokens(backend, key)
    try:
        body = dict(QUESTION, model=backend["model"])
        status, text = ask(backend["url"], "POST", "/v1/chat/completions", key, body, backend["seconds"])
        if status == 200:
            answered = '"choices"' in text
            return answered, "answers" if answered else "its answer has no choices"
        if status in (400, 404, 405, 422):  # a model that does not chat, such as one for embeddings
            status, text = ask(backend["url"], "GET", "/v1/models", key, None, backend["seconds"])
            if status == 200:
                names = [row.get("id") for row in json.loads(text).get("data", [])]
                served = backend["model"] in names
                return served, "lists its model" if served else "serves another model"
        return False, f"HTTP {status}"
    except Exception as problem:  # whatever it says, this thread goes on asking: HAProxy would keep what it heard last
        after = tokens(backend, key)
        if before is not None and after is not None and after > before:
            return True, "busy"
        return False, f"no answer: {type(problem).__name__}"


def read_settings(path):
    with open(path, encoding="utf-8") as source:
        return json.load(source)


def watch(backend, settings, keys):
    while True:
        with contextlib.suppress(OSError, ValueError, StopIteration):  # where it listens may have changed
            backend = next(row for row in read_settings(settings)["backends"] if row["id"] == backend["id"])
        now = judge(backend, read_key(keys, backend["pool"]))
        if STATES.get(backend["id"]) != now:
            print(f"{backend['id']} {'up' if now[0] else 'down'}: {now[1]}", flush=True)
        STATES[backend["id"]] = now
        time.sleep(PAUSE)


class Handler(socketserver.StreamRequestHandler):
    timeout = 5

    def handle(self):
        try:
            state = STATES.get(self.rfile.readline(1000).decode("utf-8", "replace").strip())
            if state:  # before the first answer is known, HAProxy's own check decides
                self.wfile.write(b"up\n" if state[0] else b"down #no real answer\n")
        except OSError:
            pass  # HAProxy asks again


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True


def main():
    settings = read_settings(sys.argv[1])
    for backend in settings["backends"]:
        threading.Thread(target=watch, args=(backend, *sys.argv[1:3]), daemon=True).start()
    with Server(("127.0.0.1", settings["port"]), Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
