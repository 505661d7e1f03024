"""HAProxy's configuration and its maps, from pools and callers. Pure text; HAProxy 2.6 or later.

No secret is in the configuration: callers' keys are a map of sha256, backends' keys a map that module `gateway` writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from planning.rows import fail

Pool = Mapping[str, Any]
ORIGIN = re.compile(
    r"(?!http://[^/]*:80$|https://[^/]*:443$)[a-z][a-z0-9+.-]*://[a-z0-9._:\[\]-]+"
)  # as a browser writes it
# Seconds that a caller may take to send or to read on, or keep a connection idle: more than the 60 for which many load balancers keep one (AWS's
# by default, nginx's), since one that we close just when they send on it is a 502 of theirs. Google's keep one for 600 s, and ask anew.
CLIENT_IDLE = 75
HEADER_SECONDS = 10
BODY_SECONDS = 30
RETRY_AFTER = 5


def quoted(text: str) -> str:
    """A word of HAProxy's in which nothing is special."""
    return "'" + text.replace("'", "'\\''") + "'"


def error(message: str, kind: str) -> str:
    """The body of an answer, in the form in which OpenAI's clients read it, quoted for HAProxy."""
    return quoted(json.dumps({"error": {"message": message, "type": kind, "param": None, "code": kind}}))


def deny(status: int, kind: str, message: str, *headers: str) -> str:
    more = "".join(f" hdr {header}" for header in headers)
    return f"http-request deny status {status} content-type application/json string {error(message, kind)}{more}"


def socket_address(address: str, port: int) -> str:
    """As HAProxy binds and connects; `address` may have the brackets of IPv6."""
    bare = address.strip("[]")
    return f"[{bare}]:{port}" if ":" in bare else f"{bare}:{port}"


def path_pattern(path: str) -> str:
    """A path of the allow-list as a whole regular expression; `{}` is any one part."""
    return "^" + "[^/]+".join(re.escape(part) for part in path.split("{}")) + "$"


def maps(pools: Iterable[Pool], callers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """{file: text}: callers by their keys' sha256, ends of keys, limits, models, pools and paths."""
    lines: dict[str, list[str]] = {
        name: [] for name in ("callers.map", "ends.map", "rates.map", "concurrency.map", "allowed.map", "lists.map", "pools.map", "paths.lst")
    }  # fmt: skip
    pools = list(pools)
    names = {pool["model"]: [pool["model"], *pool["also"]] for pool in pools}
    for caller in callers:
        name = caller["name"]
        # Who may ask a model may ask what its engine has beside it: there the body's name decides, and not what was read here.
        models = [one for model in caller["models"] for one in names.get(model, [model])]
        lines["callers.map"] += [f"{sha} {name}" for sha in caller["keys"]]
        lines["ends.map"] += [f"{sha} {end}" for sha, end in caller["keys"].items()]
        lines["rates.map"].append(f"{name} {caller['requests_per_minute']}")
        lines["concurrency.map"].append(f"{name} {caller['concurrency']}")
        lines["allowed.map"] += [f"{name}|{model} 1" for model in models]
        rows = [{"id": model, "object": "model", "created": 0, "owned_by": "vllm-ansible"} for model in models]
        lines["lists.map"].append(f"{name} " + json.dumps({"object": "list", "data": rows}))
    for pool in pools:
        lines["pools.map"] += [f"{model} {pool['name']}" for model in names[pool["model"]]]
        lines["paths.lst"] += [path_pattern(path) for path in pool["paths"]]
    return {name: "".join(f"{line}\n" for line in dict.fromkeys(found)) for name, found in lines.items()}


def drops_to(user: str) -> list[str]:
    """Whom workers become: a name, or a number where no list of users is."""
    words = ("uid", "gid") if user.isdigit() else ("user", "group")
    return [f"  {word} {user}" for word in words] if user else []


def head(settings: Mapping[str, Any]) -> list[str]:
    folder = settings["folder"]
    return [
        "# Written by vllm-ansible. Changes are overwritten.",
        "global",
        "  log stdout format raw local0 info",
        f"  stats socket {folder}/admin.sock mode 600 level admin expose-fd listeners",
        "  stats timeout 30s",
        f"  server-state-file {folder}/servers.state",
        f"  maxconn {settings['connections']}",
        f"  tune.bufsize {settings['body_bytes'] + 65536}",
        f"  hard-stop-after {settings['reload_seconds']}s",
        "  ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets",
        *drops_to(settings.get("user") or ""),
        "",
        "defaults",
        "  mode http",
        "  log global",
        "  timeout connect 5s",
        f"  timeout client {CLIENT_IDLE}s",
        f"  timeout client-fin {CLIENT_IDLE}s",
        "  timeout server 600s",
        f"  timeout http-request {settings.get('header_seconds', HEADER_SECONDS)}s",
        f"  timeout http-keep-alive {CLIENT_IDLE}s",
        "  option http-server-close  # an engine may close an idle connection just when the next request is sent on it",
        "  option http-no-delay  # each token goes out at once",
        "  option abortonclose  # a caller who has gone leaves the queue, and the engine, which would work for nobody",
        "  option idle-close-on-response  # a reload ends a kept connection with its next answer, and not just when a request is on its way",
        "  option redispatch",
        "  retries 2",
        "  retry-on conn-failure  # nothing was sent: a request reaches one engine, once",
        "  load-server-state-from-file global",
        *(
            f"  http-error status {status} content-type application/json string {error(words, kind)}{more}"
            for status, kind, words, more in (
                (400, "invalid_request_error", "this is no HTTP request, or its headers are too long", ""),
                (503, "unavailable", "no backend of this model is ready, or its queue took too long; try again later", f" hdr Retry-After {RETRY_AFTER}"),
                (504, "timeout", "the engine gave no answer in time", ""),
                (502, "bad_gateway", "the engine ended the connection", ""),
                (408, "request_timeout", "the request came too slowly", ""),
            )
        ),
        "",
    ]  # fmt: skip


def origins_allowed(origins: Iterable[str]) -> list[str]:
    """What lets pages of these origins ask from a browser, which first asks without a key whether it may (CORS). Empty: no page may.

    Raises Faults for what is no origin.
    """
    origins = [origins] if isinstance(origins, str) else list(origins)
    for origin in origins:
        if origin != "*" and not ORIGIN.fullmatch(str(origin)):
            fail(
                f"gateway_origins: {origin!r} is no origin; write scheme://host[:port] as browsers do, such as https://chat.example.org, or '*' for all"
            )
    if not origins:
        return []
    known = "-m found" if "*" in origins else "-m str " + " ".join(map(quoted, origins))
    allowed = "{ var(txn.origin) -m found }"
    return [
        f"http-request set-var(txn.origin) req.hdr(Origin) if {{ req.hdr(Origin) {known} }}",
        f"http-after-response set-header Access-Control-Allow-Origin %[var(txn.origin)] if {allowed}",
        f"http-after-response set-header Access-Control-Expose-Headers 'Retry-After, x-request-id' if {allowed}",
        f"http-after-response add-header Vary Origin if {allowed}",
        'http-request return status 204 hdr Access-Control-Allow-Methods "GET, POST, DELETE" hdr Access-Control-Max-Age 600'
        ' hdr Access-Control-Allow-Headers "%[req.fhdr(Access-Control-Request-Headers)]"'
        f" if {allowed} {{ method OPTIONS }} {{ req.hdr(Access-Control-Request-Method) -m found }}",
    ]  # fmt: skip


LOG = (
    '{"time":"%tr","caller":"%[var(txn.caller),json(utf8s)]","model":"%[var(txn.served),json(utf8s)]","backend":"%b/%s","method":"%HM",'
    '"status":%ST,"bytes_in":%U,"bytes_out":%B,"queued_ms":%Tw,"first_byte_ms":%Tr,"total_ms":%Ta,"end":"%ts","client":"%ci"}'
)


def front(settings: Mapping[str, Any]) -> list[str]:
    folder, limit = settings["folder"], settings["body_bytes"]
    unnamed, named = "!{ var(txn.model) -m found }", "{ var(txn.model) -m found }"
    too_large = deny(
        413,
        "request_too_large",
        f"the body is larger than {limit} bytes; ask /models/NAME/v1 instead of /v1, which takes any size",
    )

    def file(name: str) -> str:
        return f"{folder}/{name}"

    bind = f"bind {socket_address(settings['address'], settings['port'])}"
    # Not h2: HAProxy resets a stream whose body it refuses, and clients then show a broken connection instead of 413 or 429.
    tls = f" ssl crt {folder}/gateway.pem alpn http/1.1"
    plain = settings.get("http_port")
    acme = settings.get("acme_port")
    challenge = "{ path_beg /.well-known/acme-challenge/ }"
    redirect = [
        "frontend plain",
        f"  bind {socket_address(settings['address'], plain)}",
        *([f"  use_backend acme if {challenge}"] if acme else []),
        f"  http-request redirect location https://%[req.hdr(host),host_only]:{settings['port']}%[pathq] code 308{f' unless {challenge}' if acme else ''}",
        "",
        *(["backend acme  # certbot, which listens while it asks", f"  server certbot 127.0.0.1:{acme}", ""] if acme else []),
    ] if plain else []  # fmt: skip
    cors = origins_allowed(settings.get("origins") or [])
    rules = [
        "http-request return status 200 content-type text/plain string ok if { path /health }",
        # /models/NAME/v1/...: the model's name in the path, for bodies of any size and requests without one.
        "http-request set-var(txn.model) path,regsub(^/models/,),regsub(/v1/.*$,),url_dec if { path_reg ^/models/.+/v1/ }",
        "http-request set-path %[path,regsub(^/models/.+/v1/,/v1/)] if { var(txn.model) -m found }",
        *cors[:-1],  # so that a page can read 404, too
        deny(404, "not_found", "there is no such path") + f" unless {{ path -m reg -f {file('paths.lst')} }}",
        *cors[-1:],
        deny(405, "method_not_allowed", "this method is not allowed") + " unless { method GET HEAD POST DELETE }",
        # Who asks? The key as OpenAI's clients send it, or as Anthropic's do.
        "http-request set-var(txn.key) http_auth_bearer,sha2(256),hex,lower if { req.hdr(Authorization) -m found }",
        "http-request set-var(txn.key) req.hdr(x-api-key),sha2(256),hex,lower if !{ req.hdr(Authorization) -m found } { req.hdr(x-api-key) -m found }",
        f"http-request set-var(txn.caller) var(txn.key),map_str({file('callers.map')}) if {{ var(txn.key) -m found }}",
        f"http-request set-var(txn.end) var(txn.key),map_str_int({file('ends.map')},0) if {{ var(txn.caller) -m found }}",
        deny(401, "invalid_api_key", "this key is not known here, or there is none", "WWW-Authenticate Bearer") + " unless { var(txn.caller) -m found }",
        "http-request set-var(txn.left) date,neg,add(txn.end)",
        deny(401, "invalid_api_key", "this key has expired", "WWW-Authenticate Bearer") + " if { var(txn.left) -m int le 0 }",
        "http-request del-header Authorization",
        "http-request del-header x-api-key",
        # Its limits. The table counts what was admitted, so that a caller who keeps asking is not kept out by that alone.
        "http-request track-sc0 var(txn.caller) table callers",
        "http-request set-var(txn.now) sc0_conn_cur",
        f"http-request set-var(txn.room) var(txn.caller),map_str_int({file('concurrency.map')},0),sub(txn.now)",
        deny(429, "rate_limit_exceeded", "this key has too many requests at a time", "Retry-After 1") + " if { var(txn.room) -m int lt 0 }",
        "http-request set-var(txn.minute) sc0_gpc0_rate",
        f"http-request set-var(txn.rate) var(txn.caller),map_str_int({file('rates.map')},0),sub(txn.minute)",
        deny(429, "rate_limit_exceeded", "this key has too many requests a minute", "Retry-After 10") + " if { var(txn.rate) -m int le 0 }",
        "http-request sc-inc-gpc0(0)",
        f"http-request return status 200 content-type application/json lf-string %[var(txn.caller),map_str({file('lists.map')})]"
        " if { path /v1/models } { method GET HEAD } !{ var(txn.model) -m found }",
        # Which model? Its name lies in the body, which is read up to the limit.
        too_large + f" if {unnamed} {{ req.body_size gt {limit} }}",
        f"http-request wait-for-body time {settings.get('body_seconds', BODY_SECONDS)}s at-least {limit + 1} if {unnamed} {{ method POST }}",
        too_large + f" if {unnamed} {{ req.body_size gt {limit} }}",
        "http-request set-var(txn.model) req.body,json_query('$.model') if !{ var(txn.model) -m found }",
        # mjson gives nothing for a name with \\/, as PHP writes it.
        "http-request set-var(txn.model) req.body,regsub('\\\\\\\\/','/',g),json_query('$.model') if !{ var(txn.model) -m found }",
        deny(400, "invalid_request_error", "the body names no model: give it as JSON with the key model, or ask /models/NAME/v1")
        + f" unless {named}",
        f"http-request set-var(txn.pool) var(txn.model),map_str({file('pools.map')})",
        deny(404, "model_not_found", "no such model is served here; /v1/models lists them") + " unless { var(txn.pool) -m found }",
        "http-request set-var(txn.served) var(txn.model)",
        f"http-request set-var(txn.may) var(txn.caller),concat(|,txn.model),map_str_int({file('allowed.map')},0)",
        deny(403, "model_not_allowed", "this key may not ask this model") + " unless { var(txn.may) -m int eq 1 }",
    ]  # fmt: skip
    return [
        *redirect,
        "frontend callers-tls" if settings.get("tls", True) else "frontend callers-plain",
        f"  {bind}{tls if settings.get('tls', True) else ''}",
        f"  log-format {quoted(LOG)}",
        *(f"  {rule}" for rule in rules),
        "  use_backend %[var(txn.pool)]",
        "",
        "backend callers  # counters alone",
        "  stick-table type string len 64 size 100k expire 2h store conn_cur,gpc0,gpc0_rate(60s)",
        "",
    ]


def back(pool: Pool, settings: Mapping[str, Any]) -> list[str]:
    keys = f"{settings['folder']}/backend_keys.map"
    agent = f"agent-check agent-addr 127.0.0.1 agent-port {settings['agent_port']} agent-inter 2s"
    key = (
        f'  http-request set-header Authorization "Bearer %[str({pool["name"]}),map_str({keys})]"'
        if pool["api_key"]
        else ""
    )
    return [
        f"backend {pool['name']}",
        "  balance leastconn",
        f"  timeout server {pool['idle_seconds']}s",
        f"  timeout queue {pool['queue_seconds']}s",
        f"  {deny(503, 'overloaded', 'the queue of this model is full; try again later', f'Retry-After {RETRY_AFTER}')} if {{ queue ge {pool['queue']} }}",
        *([key] if key else []),
        "  option httpchk",
        "  http-check send meth GET uri /health ver HTTP/1.1 hdr Host gateway",
        "  http-check expect status 200",
        *(
            f"  server {one['name']} {socket_address(one['address'], one['port'])} weight {one['weight']} maxconn {one['concurrent']} "
            f"check inter 2s fall 3 rise 2 {agent} agent-send {pool['name']}/{one['name']}\\n"
            for one in pool["backends"]
        ),
        "",
    ]  # fmt: skip


def configuration(pools: Iterable[Pool], settings: Mapping[str, Any]) -> str:
    """haproxy.cfg. `settings`: folder, address, port, http_port and acme_port (0: none), body_bytes, connections, reload_seconds, agent_port,
    user, origins (of pages that may ask from a browser)."""
    lines = [*head(settings), *front(settings)]
    for pool in pools:
        lines += back(pool, settings)
    return "\n".join(lines)


def agent_settings(pools: Iterable[Pool], settings: Mapping[str, Any]) -> str:
    """What the health agent reads: its port and every backend. Keys stay in the map."""
    rows = [
        {
            "id": f"{pool['name']}/{one['name']}", "pool": pool["name"], "url": "http://" + socket_address(one["address"], one["port"]),
            "model": pool["model"], "api_key": pool["api_key"], "seconds": pool["answer_seconds"],
        }
        for pool in pools for one in pool["backends"]
    ]  # fmt: skip
    return json.dumps({"port": settings["agent_port"], "backends": rows}, indent=1) + "\n"
