"""Failure hints: names and addresses on the network."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "address-family",
        r"Address family for hostname not supported|Address family not supported by protocol",
        "an address and what listens or connects there are of two kinds, IPv4 and IPv6: IPv6 is switched off on this host, or the"
        " program takes only one of them",
        "set the row's `address` (host of a program started by hand) to an IPv4 address, as 0.0.0.0 or 127.0.0.1; no localhost or ::"
        " where the host has no IPv6; an older engine in a host with IPv6 alone: upgrade, VLLM_HOST_IP in env",
        "glibc, EAI_ADDRFAMILY; Linux, EAFNOSUPPORT",
        "socket.gaierror: [Errno -9] Address family for hostname not supported",
        sure=False,
    ),
    Hint(
        "tls-too-old",
        r"\[SSL: (?:TLSV1_ALERT_PROTOCOL_VERSION|UNSUPPORTED_PROTOCOL|NO_CIPHERS_AVAILABLE|UNSAFE_LEGACY_RENEGOTIATION_DISABLED"
        r"|DH_KEY_TOO_SMALL|EE_KEY_TOO_SMALL"
        r"|CA_MD_TOO_WEAK)\]|(?i:tls: protocol version not supported|tls: no supported versions satisfy)",
        "this host and the server (or a proxy between) have no form of TLS in common: one of them is of an old time",
        "renew the server's or proxy's certificate and TLS (1.2 or newer), or take another address in `sources`; openssl s_client -connect"
        " HOST:PORT shows what it offers",
        "OpenSSL, reasons",
        "ssl.SSLError: [SSL: TLSV1_ALERT_PROTOCOL_VERSION] tlsv1 alert protocol version (_ssl.c:1006)",
        sure=False,
    ),
    Hint(
        "tls-client-certificate",
        r"\[SSL: (?:TLSV13_ALERT_CERTIFICATE_REQUIRED|TLSV1_ALERT_UNKNOWN_CA|SSLV3_ALERT_BAD_CERTIFICATE|SSLV3_ALERT_CERTIFICATE_UNKNOWN)\]"
        r"|remote error: tls: (?:bad certificate|unknown certificate|certificate required|unknown certificate authority)",
        "the other side refuses this side's certificate, or asks for one and gets none: mutual TLS, or a client that does not trust its server's CA",
        "give the client its certificate and key, or its CA to both sides; in a service's log: the caller does not trust ssl_certfile, give callers its CA",
        "OpenSSL, alerts",
        "ssl.SSLError: [SSL: TLSV1_ALERT_UNKNOWN_CA] tlsv1 alert unknown ca (_ssl.c:2706)",
        sure=False,
    ),
    Hint(
        "url-wrong",
        r"(?:MissingSchema|InvalidURL|InvalidSchema|UnsupportedProtocol|InvalidProxyURL|LocationParseError|InvalidHeader)\b(?!: Invalid leading)"
        r"|Unable to determine SOCKS version|Missing dependencies for SOCKS|Unknown scheme for proxy URL",
        "an address is not written as a URL that this program takes: it lacks http://, its port is no number, or a proxy is of a kind (socks://) for which a"
        " package is missing",
        "correct it where it is set (HF_ENDPOINT, http_proxy, https_proxy, all_proxy, `sources`): http://HOST:PORT; socks5h://HOST:PORT takes the"
        " package PySocks (httpx: socksio)",
        "requests; httpx",
        "requests.exceptions.MissingSchema: Invalid URL 'acme/api': No scheme supplied. Perhaps you meant https://acme/api?",
        sure=False,
    ),
    Hint(
        "redirects",
        r"TooManyRedirects\b|Exceeded \d{1,3} redirects|stopped after 10 redirects",
        "an address leads on and on to others: a mirror or login page that sends back to itself, or a proxy that changes addresses",
        "curl -vL the address shows the way; take another address in `sources` (or HF_ENDPOINT), log in at the proxy, or pass it by (no_proxy)",
        "requests",
        "requests.exceptions.TooManyRedirects: Exceeded 30 redirects.",
    ),
    Hint(
        "port-no-number",
        r"Servname not supported for ai_socktype|nodename nor servname provided",
        "an address has a port that is no number, or no host at all",
        "the traceback's last lines say which address: write HOST:PORT; Kubernetes sets variables such as VLLM_PORT to a URL: unset them",
        "glibc, EAI_SERVICE",
        "socket.gaierror: [Errno -8] Servname not supported for ai_socktype",
        sure=False,
    ),
    Hint(
        "grpc-not-reached",
        r"StatusCode\.(?:UNAVAILABLE|DEADLINE_EXCEEDED)",
        "a server that was asked over gRPC does not answer: it is not started, ended, listens at another address, or a proxy or firewall is between",
        "the words behind `details` name the address: nc -vz HOST PORT; grpc takes http_proxy too: name the host in no_proxy",
        "gRPC, status codes",
        'grpc._channel._InactiveRpcError: <_InactiveRpcError of RPC that terminated with: status = StatusCode.UNAVAILABLE details = "x"',
        general=True,
    ),
    Hint(
        "certificate-name",
        r"(?:[Cc]ertificate|SSL|TLS|curl: \(60\))[^\n]{0,200}(?:Hostname mismatch|IP address mismatch|doesn't match (?:either of )?'"
        r"|no alternative certificate"
        r" subject name)|NotValidForName",
        "who answered shows a certificate of another name: a proxy or login page between here and there, DNS or /etc/hosts gives another"
        " host's address,"
        " or the address was written another way (a number, an alias)",
        "getent hosts NAME and curl -v https://NAME on this host show who answers: correct DNS, hosts or proxy, or use a name that the certificate has",
        "vmware-archive/vSphere-machine-learning-extension#75",
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Hostname mismatch, certificate is not"
        " valid for 'hub'.",
        sure=False,
    ),
    Hint(
        "certificate",
        r"CERTIFICATE_VERIFY_FAILED|SSLCertVerificationError|certificate verify failed|certificate has expired|self[- ]signed certificate"
        r"|SSL certificate problem|curl: \((?:51|60|77)\)|InvalidCertificate\(|invalid peer certificate|\bUnknownIssuer\b",
        "a certificate of another server is not trusted here: a proxy of the site signs it anew, it has expired, or this environment lacks the CA",
        "give the site's CA to system and container (ca-certificates), and to Python by env REQUESTS_CA_BUNDLE and SSL_CERT_FILE (a bundle that"
        " holds the public CAs too), to uv by UV_NATIVE_TLS: 1; the host's clock must be right",
        "Python, ssl",
        "ssl.SSLCertVerificationError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate",
    ),
    Hint(
        "tls-files",
        r"SSLError: \[SSL(?:: [A-Z_]{1,40})?\] (?:PEM lib|no start line|key values mismatch|bad (?:end line|decrypt|base64))"
        r"|\[(?:SSL|X509): (?:KEY_VALUES_MISMATCH|PEM|PEM_LIB|NO_CERTIFICATE_OR_CRL_FOUND)\]",
        "a certificate or key that an option names is no PEM file, or the two don't belong together",
        "look at both with openssl x509 -in FILE -noout and openssl pkey -in FILE -noout; name the certificate's own key",
        "OpenSSL; vLLM 0.25.1",
        "ssl.SSLError: [SSL] PEM lib (_ssl.c:3845)",
    ),
    Hint(
        "interface-missing",
        r"ZMQError: No such device \(addr='([^'\n]{1,100})'",
        "the address names a network interface or an address of its own that this host does not have",
        "ip -br address shows what there is: correct VLLM_HOST_IP (or the interface) in the row's env, or leave it out",
        "libzmq, ENODEV",
        "zmq.error.ZMQError: No such device (addr='tcp://acme9:5555')",
    ),
    Hint(
        "no-route",
        r"Errno 101\]?,? '?Network is unreachable|dial (?:tcp|udp) [\d.\[\]:a-f]{3,60}: connect: network is unreachable",
        "the host or container has no route to an address: no network of its kind (IPv4 where it has IPv6 alone, or the reverse), no"
        " default route, or a network none",
        "ip route and ip -6 route show what there is; an engine that looks for its own address: VLLM_HOST_IP in the row's env; for a hub"
        " or registry set the proxy, or fetch on the controller (image_relay)",
        "Linux, ENETUNREACH; vllm-project/vllm#2812",
        "OSError: [Errno 101] Network is unreachable",
        sure=False,
    ),
    Hint(
        "name-resolution",
        r"Temporary failure in name resolution|Name or service not known|No address associated with hostname|Max retries exceeded with url"
        r"|Failed to resolve '",
        "something on the network is wanted, and can't be reached",
        "a machine of your own must be up and listen there; from outside a release needs nothing: set"
        " HF_HUB_OFFLINE=1 in the row's env, the host's name in /etc/hosts; resolvectl status shows its resolver (/etc/resolv.conf); only"
        " containers: `dns` in daemon.json",
        "requests; glibc",
        "urllib3.exceptions.NameResolutionError: Failed to resolve 'files.example' ([Errno -3] Temporary failure in name resolution)",
        general=True,
    ),
    Hint(
        "host-name-unknown",
        r"curl: \([56]\)|wget: unable to resolve host|Could not resolve (?:host|proxy):",
        "the name of a server (or of the proxy) is not known here: no DNS server answers, the name is wrong, or only a proxy leads out",
        "getent hosts NAME; correct /etc/resolv.conf or the name; set http_proxy and https_proxy where a proxy leads"
        " out; without a network fetch on the controller",
        "curl; git; wget",
        "curl: (6) Could not resolve host: files.example",
        sure=False,
    ),
    Hint(
        "answers-nothing",
        r"curl: \(52\)|Empty reply from server",
        "what listens there took the connection and closed it without an answer; most often it still starts, it speaks TLS, or in a container it"
        " listens on 127.0.0.1 only",
        "look at the service's log; try https; in a container it must listen on 0.0.0.0 (address of the row), and the port must be published",
        "curl; git; wget",
        "curl: (52) Empty reply from server",
        sure=False,
    ),
    Hint(
        "curl-refused",
        r"curl: \(7\) (?![^\n]{0,200}(?:proxy|Proxy))",
        "nothing takes connections at the address that was asked: the service has not started yet, has ended, listens elsewhere, or a firewall"
        " rejects the port",
        "ss -ltnp on that host shows what listens where; systemctl status or docker ps whether it runs; the firewall's rules for that port",
        "curl; git; wget",
        "curl: (7) Failed to connect to 127.0.0.1 port 8000 after 0 ms: Connection refused",
        sure=False,
    ),
    Hint(
        "curl-slow",
        r"curl: \(28\)",
        "who was asked over the network did not answer in time: it is down or busy, still starts, or a firewall drops what is sent",
        "nc -vz HOST PORT; look at the service's log; open the port, correct address or proxy; a longer --max-time where it only takes long",
        "curl; git; wget",
        "curl: (28) Operation timed out after 30000 milliseconds with 0 bytes received",
        sure=False,
    ),
    Hint(
        "transfer-cut",
        r"curl: \((?:18|55|56|92)\)|RPC failed; curl \d{1,2}|fetch-pack: unexpected disconnect",
        "a transfer was cut off in its midst: a proxy or firewall ends long ones, the server did, or the network fails",
        "try again (what has come is kept where the program can resume); let the playbook fetch models (--tags fetch), which goes on where it was;"
        " ask for an exception of the proxy",
        "curl; git; wget",
        "error: RPC failed; curl 92 HTTP/2 stream 0 was not closed cleanly: CANCEL (err 8)",
        sure=False,
    ),
    Hint(
        "curl-status",
        r"curl: \(22\) The requested URL returned error: \d{3}",
        "the server answered, and refused: the number is its HTTP status (401, 403: a key or rights are missing; 404: no such path; 429: too many"
        " requests; 5xx: its own fault)",
        "check address, key and proxy for a 4xx; look at the server's log or wait for a 5xx and 429",
        "curl; git; wget",
        "curl: (22) The requested URL returned error: 403",
        sure=False,
    ),
    Hint(
        "header-not-latin",
        r"'latin-1' codec can't encode character",
        "a header of a request (an API key, a token, a URL) holds a character that headers can't carry, such as a curly quote or a space that is none",
        "type the key or token anew instead of pasting it (printf %s KEY | od -c shows it), and give it again",
        "Python, http.client",
        "UnicodeEncodeError: 'latin-1' codec can't encode character '\\u201c' in position 7: ordinal not in range(256)",
    ),
    Hint(
        "certificate-not-yet",
        r"certificate (?:of \S{1,80} )?(?:is not yet (?:activated|valid)|has not yet been activated)",
        "the certificate begins to be valid later than this host's clock says: the clock is behind, or the certificate was made for a later day",
        "timedatectl shows the clock and whether a time server sets it (chrony, systemd-timesyncd): set it, then again",
        "GnuTLS; OpenSSL; MichaIng/DietPi#2652",
        "ERROR: The certificate of 'acme.example' is not yet activated.",
    ),
)
