#!/usr/bin/env python3
"""Keeps the gateway's certificate from an ACME server fresh. Standard library only, Python 3.8.

    renew.py acme.json            looks twice a day, for ever
    renew.py acme.json --once     looks once, and prints {changed, problem} as JSON; --anew asks for a new one even if the old is good

certbot speaks ACME and decides when a certificate is due; what it brings is handed to HAProxy through the runtime API, so nothing is reloaded
and no stream is cut.
"""

import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import time

PAUSE = 12 * 3600  # seconds between two looks, as certbot's own timer has it
AGAIN = 3600  # seconds after a look that failed
LONGEST = 600  # seconds that certbot may take


def ask(settings, anew):
    """Have certbot do what is due. Returns what is wrong, or nothing."""
    words = [settings["certbot"], "certonly", "--config", settings["ini"], *(["--force-renewal"] if anew else [])]
    environment = dict(os.environ, **({"REQUESTS_CA_BUNDLE": settings["ca_file"]} if settings["ca_file"] else {}))
    try:
        done = subprocess.run(
            words,
            check=False,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            timeout=LONGEST,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return f"certbot did not run: {type(problem).__name__}"
    lines = [line.strip() for line in done.stdout.decode("utf-8", "replace").splitlines() if line.strip()]
    told = [line for line in lines if not line.startswith(("Saving debug log", "Ask for help", "Plugins selected"))]
    return " ".join(told)[-1200:] if done.returncode else ""


def wanted(settings):
    """Chain and key as HAProxy reads them; without empty lines, which would end a command of the runtime API."""
    text = ""
    for name in ("fullchain.pem", "privkey.pem"):
        with open(os.path.join(settings["live"], name), encoding="ascii") as source:
            text += "".join(line for line in source if line.strip())
    return text


def written(path):
    try:
        with open(path, encoding="ascii") as source:
            return source.read()
    except OSError:
        return ""


def write(path, text):
    handle, draft = tempfile.mkstemp(dir=os.path.dirname(path))  # 0600
    with os.fdopen(handle, "w", encoding="ascii") as target:
        target.write(text)
        target.flush()
        os.fsync(target.fileno())
    os.rename(draft, path)


def command(path, text):
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as api:
        api.settimeout(10)
        api.connect(path)
        api.sendall(text.encode() + b"\n")
        api.shutdown(socket.SHUT_WR)
        parts = []
        while True:
            part = api.recv(65536)
            if not part:
                return b"".join(parts).decode("utf-8", "replace")
            parts.append(part)


def hand_over(settings, text):
    """Have HAProxy use it from the next connection on. Returns what is wrong, or nothing."""
    pem = settings["pem"]
    try:
        said = command(settings["api"], f"set ssl cert {pem} <<\n{text}\n") + command(
            settings["api"], f"commit ssl cert {pem}"
        )
    except OSError as problem:
        return f"there is a new certificate for {pem}, but HAProxy could not be asked to use it: {problem}"
    return "" if "Success" in said else f"HAProxy does not take the new certificate: {' '.join(said.split())[-300:]}"


def look(settings, anew=False):
    """{changed, problem}."""
    problem = ask(settings, anew)
    if problem:
        return {"changed": False, "problem": problem}
    text = wanted(settings)
    if text == written(settings["pem"]):
        return {"changed": False, "problem": ""}
    problem = hand_over(settings, text)  # first, so that a kill in between is mended by the next look
    if not problem:
        write(settings["pem"], text)  # one that HAProxy refused is tried again
    return {"changed": not problem, "problem": problem}


def tried(settings, anew=False):
    """A look that ends in words, whatever happens."""
    try:
        return look(settings, anew)
    except (OSError, ValueError) as problem:
        return {"changed": False, "problem": str(problem)}


def main():
    with open(sys.argv[1], encoding="utf-8") as source:
        settings = json.load(source)
    if "--once" in sys.argv:
        print(json.dumps(tried(settings, "--anew" in sys.argv)))
        return
    pause = random.uniform(60, AGAIN)  # noqa: S311 - many gateways need not ask at once
    while True:
        time.sleep(pause)
        found = tried(settings)
        print(found["problem"] or ("renewed" if found["changed"] else "not due"), flush=True)
        pause = AGAIN if found["problem"] else random.uniform(PAUSE / 2, PAUSE)  # noqa: S311


if __name__ == "__main__":
    main()
