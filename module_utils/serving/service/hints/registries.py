"""Failure hints: registries of images, as Docker, containerd and podman speak of them."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "image-denied",
        r"no basic auth credentials|pull access denied(?: for|, repository)|requested access to the resource is denied"
        r"|access to the requested resource is not authorized|unauthorized: authentication required"
        r"|failed to fetch (?:anonymous|oauth) token[^\n]{0,300}: 40[13]\b|https?://[^\s\"]{1,200}/v2/[^\s\"]{1,300}\": (?:denied|unauthorized)\b",
        "the registry does not give this image without a login, has no such repository, or the login ended while it was fetched (a clock that is"
        " wrong ends it at once)",
        "check the image's name; date must be right; fetch once more; log in on the controller or the host, or fetch it with image_relay",
        "moby, registry errors",
        "docker: Error response from daemon: pull access denied for acme/vllm, repository does not exist or may require 'docker login'",
    ),
    Hint(
        "registry-login-expired",
        r"authorization token has expired|Reauthenticate and try again",
        "the login that this host keeps for the registry has expired (Amazon's ECR after 12 hours)",
        "log in again (aws ecr get-login-password | docker login --username AWS --password-stdin REGISTRY), or use its credential helper, then run"
        " deploy.yml --tags fetch",
        "Amazon ECR",
        "Error response from daemon: denied: Your authorization token has expired. Reauthenticate and try again.",
    ),
    Hint(
        "registry-proxy-dead",
        r"proxyconnect tcp: ",
        "the proxy that the container engine is set to use does not answer it: it does not run, its address is wrong here (127.0.0.1 of another"
        " machine), or it speaks http and is named by https://",
        "systemctl show docker -p Environment and docker info show it (http-proxy.conf of the unit, proxies in daemon.json): correct or remove it,"
        " daemon-reload, restart Docker",
        "docker/for-win#9400, #4607",
        'docker: Error response from daemon: Get "https://registry-1.docker.io/v2/": proxyconnect tcp: dial tcp 127.0.0.1:7890: connect: connection'
        " refused",
    ),
    Hint(
        "registry-name",
        r"(?:/v2/|registry|docker|pull|manifest|quay|ghcr)[^\n]{0,200}(?:lookup"
        r"|resolve) \S{1,100}(?: on \S{1,60})?: (?:Temporary failure in name resolution|no such host|server misbehaving|i/o timeout)",
        "this host does not find the registry's address: its resolver does not answer or does not know the name, or the network was not up yet, as"
        " at boot",
        "resolvectl query NAME (getent hosts NAME) shows it: correct /etc/resolv.conf or the proxy; for a unit at boot After= and"
        " Wants=network-online.target; else name a mirror, or fetch with image_relay",
        "moby; containers/podman#21873",
        "Error: initializing source docker://ghcr.io/acme/x:1: pinging container registry ghcr.io: dial tcp: lookup ghcr.io: Temporary failure in"
        " name resolution",
    ),
    Hint(
        "registry-handshake",
        r"TLS handshake timeout",
        "the connection to the registry begins and stalls at TLS: packets are too large for a link between (MTU of a tunnel or cloud network), a"
        " proxy or firewall holds it up, or the way is slow",
        'ping -M do -s 1472 HOST shows the MTU: set "mtu" in /etc/docker/daemon.json (1400, or as ip link says), and the proxy; else a mirror, or'
        " fetch with image_relay",
        "moby; hashicorp/setup-packer#49",
        'docker: Error response from daemon: Get "https://quay.io/v2/": net/http: TLS handshake timeout',
    ),
    Hint(
        "registry-unreachable",
        r"(?:https?://[^\s\"]{1,200}/(?:v2/|token\?)|error pulling image|download failed after|failed to (?:copy"
        r"|do request): ).{0,300}(?:no route to host|connection timed out|i/o timeout|connection refused|network is unreachable"
        r"|deadline exceeded|context canceled|request canceled|handshake failure|tls: internal error|first record does not look like"
        r"|connection reset|broken pipe|GOAWAY|INTERNAL_ERROR|(?<!unexpected )EOF)"
        r"|failed to resolve reference[^\n]{0,200}: (?:unexpected EOF|EOF|connection reset)",
        "the registry can't be reached from this host, or the connection breaks off",
        "set its proxy for Docker, name a mirror, or fetch with image_relay",
        "moby, registry client",
        'Error response from daemon: Get "https://registry-1.docker.io/v2/": dial tcp: 10.0.0.9:443: connect: connection refused',
    ),
    Hint(
        "registry-another-answers",
        r"https?://[^\s\"]{1,300}\"?: [^\n]{0,80}x509: certificate is (?:not )?valid for [^\n]{1,300}(?:, not |but wanted to match )",
        "a server answered that has no certificate for the registry's name: a proxy or provider that steps in, a wrong entry of DNS or /etc/hosts, or"
        " a registry of your own that is asked by another name",
        "getent hosts REGISTRY and curl -v https://REGISTRY/v2/ show who answers; correct DNS or the daemon's proxy, name a mirror, or fetch"
        " with image_relay",
        "johnnewcombe/telstar-2#5; docker/hub-feedback#2517",
        'Get "https://reg.example/v2/": tls: failed to verify certificate: x509: certificate is valid for *.acme.example, not reg.example',
    ),
    Hint(
        "registry-certificate-odd",
        r"failed to parse certificate from server|x509: (?:unhandled critical extension|malformed|certificate relies on legacy Common Name)",
        "the certificate that came for the registry is of a form which Docker (Go) does not take: a proxy that reads TLS made it, or it"
        " is an old one without"
        " subjectAltName",
        "let the proxy pass the registry's names unread, make the registry a certificate of today, or fetch with image_relay",
        "moby/moby#31949",
        "Get https://reg.example/blobs/5: tls: failed to parse certificate from server: x509: unhandled critical extension",
    ),
    Hint(
        "registry-server",
        r"received unexpected HTTP status: 5\d\d|unexpected status[^\n]{0,120}: 5\d\d|(?:error pulling image|fetching"
        r"|manifest)[^\n]{0,120}\b50[0234]\b",
        "the registry (or a mirror or proxy before it) fails",
        "try again later, name another mirror, or fetch with image_relay",
        "moby, registry client",
        "Error response from daemon: received unexpected HTTP status: 502 Bad Gateway",
    ),
    Hint(
        "registry-refuses",
        r"unexpected status(?: code)?(?: |[^\n]{0,300}: )4(?:0[0-79]|[13-9]\d)\b",
        "the registry, or a mirror or proxy before it, refuses the request: it does not carry this image or this kind of request, its login has"
        " ended, or its limit of requests is reached",
        "the number at the end says which (400, 403: another mirror or the registry itself; 407: the proxy's login; 429: log in, or wait); then run"
        " deploy.yml --tags fetch, or use image_relay",
        "ciiiii/cloudflare-docker-proxy#98; moby, registry client",
        "failed to copy: httpReadSeeker: failed open: unexpected status code https://acme/v2/x/blobs/sha256:5: 400 Bad Request",
        sure=False,
    ),
    Hint(
        "login-not-kept",
        r"[Ee]rror (?:saving|storing) credentials|Cannot autolaunch D-Bus",
        "the program that is to keep the login for a registry does not work on this host: it wants a desktop session, or is not whole",
        "take credsStore and credHelpers out of ~/.docker/config.json (then the file itself keeps it), or give the registry's login to deploy.yml",
        "docker/docker-credential-helpers",
        "Error saving credentials: error storing credentials - err: exit status 1, out: `acme`",
    ),
    Hint(
        "policy-refuses",
        r"is rejected by policy|containers/policy\.json: no such file",
        "podman's rules of trust refuse this image: they ask for a signature, name other registries, or their file is missing",
        "/etc/containers/policy.json (the package containers-common brings it): allow this registry there (insecureAcceptAnything), or sign the image",
        "containers/image, policy.json(5)",
        "Error: Source image rejected: Running image docker://acme is rejected by policy.",
    ),
    Hint(
        "registry-form",
        r"missing signature key|unsupported (?:manifest )?media type|mediaType in manifest should be|unsupported (?:image|schema) version"
        r"|manifest type[^\n]{0,80}(?:unsupported|not supported)|media type \"[^\"\n]{1,120}\" is no longer supported|schema 1 support is disabled",
        "the container engine does not know the form in which the registry keeps this image: one is older than the other (OCI, zstd; schema"
        " 1), or what the name leads to is no image (a chart, a model)",
        "check the name; upgrade Docker, containerd or podman, or fetch the image on the controller (image_relay)",
        "moby/moby#46255",
        "Error response from daemon: missing signature key",
        sure=False,
    ),
    Hint(
        "registry-blob-missing",
        r"could not fetch content descriptor[^\n]{0,300}from remote: not found|blob unknown to registry|: unknown blob\b|filesystem layer verification failed"
        r"|failed size validation: ",
        "the registry has the image's list and not one of its parts, or gives another one: a mirror that is not whole, an image pushed while it was"
        " read, or a proxy that changes what passes",
        "fetch it from the registry itself or another mirror, push the image there anew, or fetch with image_relay",
        "containerd/containerd#10749",
        "ctr: failed to copy: httpReadSeeker: failed open: could not fetch content descriptor sha256:5 (application/x) from remote: not found",
        sure=False,
    ),
    Hint(
        "registry-answer-foreign",
        r"error parsing HTTP \d{3} response body",
        "what answered is no registry, or not in its words: a proxy, a portal to log in at, a firewall or a mirror's front answered in its place",
        "curl -v the registry's /v2/ on the host shows who answers: set the engine's proxy, or use another mirror; 408, 429 and 5xx may pass: try"
        " again later",
        "moby, registry client",
        "Error response from daemon: error parsing HTTP 403 response body: invalid character '<' looking for beginning of value",
        sure=False,
    ),
    Hint(
        "layer-differs",
        r"unexpected commit digest sha256:|layers from manifest don.t match image configuration",
        "what came is not what the image's digest says: a proxy or mirror cut or changed it, it was pushed so, or this host's memory or disk is at"
        " fault",
        "try again, past the mirror or proxy if there is one; if one image stays so, take another digest of it; if others fail too, test memory and"
        " disk (dmesg)",
        "containerd, content store; moby",
        'failed to pull and unpack image: failed commit on ref "layer-sha256:ab": unexpected commit digest sha256:cd, expected sha256:ab',
        sure=False,
    ),
    Hint(
        "login-refused",
        r"login attempt to \S{1,200} failed with status: 40[13]",
        "the registry does not take this name and password",
        "check them at the registry (a robot account or token may have expired, or need other rights); a name with $ wants single quotes",
        "moby, registry client",
        "Error response from daemon: login attempt to https://reg.lan/v2/ failed with status: 401 Unauthorized",
    ),
    Hint(
        "digest-form",
        r"invalid checksum digest|unsupported digest algorithm",
        "a digest is not written as it has to be, sha256 with a colon and 64 digits of 0-9 and a-f",
        "copy it anew from the registry (docker buildx imagetools inspect NAME:TAG shows it), as NAME@DIGEST",
        "opencontainers/go-digest",
        "invalid checksum digest length",
    ),
    Hint(
        "archive-no-image",
        r"unrecognized image format",
        "the file that was loaded is no archive of an image: another file, cut, or the export of a container",
        "sha256sum compares it with its source; make it by docker save (not docker export), and load it again",
        "moby, image/tarexport",
        "Error response from daemon: unrecognized image format",
    ),
)
