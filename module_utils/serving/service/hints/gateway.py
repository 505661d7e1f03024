"""Failure hints: what stands before and beside the services: HAProxy, keepalived, certificates (ACME), Prometheus and Alertmanager."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS: tuple[Hint, ...] = (
    Hint(
        "haproxy-port-low",
        r"cannot bind socket \(Permission denied\)",
        "HAProxy may not listen on this port: ports below 1024 are for root or a program with that right, or SELinux keeps it to other ports",
        "choose a port above 1023, give the right (CAP_NET_BIND_SERVICE, sysctl net.ipv4.ip_unprivileged_port_start), or allow the port to"
        " HAProxy in SELinux (semanage port)",
        "HAProxy",
        "[ALERT]    (812) : Binding [haproxy.cfg:12] for frontend acme: cannot bind socket (Permission denied) for [0.0.0.0:80]",
    ),
    Hint(
        "haproxy-config",
        r"parsing \[[^\]\n]{1,200}:\d{1,6}\] : (?!'bind)(?![^\n]{0,300}could not resolve address)|Fatal errors found in configuration",
        "HAProxy does not take its configuration; the line names the place",
        "deploy.yml and gateway.yml check what they write: run gateway.yml again; an own part: haproxy -c -f FILE tests it, and an older HAProxy may"
        " not know the word",
        "HAProxy",
        "[ALERT]    (812) : config : parsing [haproxy.cfg:30] : unknown keyword 'acme' in 'backend' section",
        late=True,
    ),
    Hint(
        "haproxy-certificate",
        r"unable to (?:stat SSL certificate|load SSL (?:private key|certificate))|inconsistencies between private key and certificate"
        r"|no SSL certificate specified for bind",
        "HAProxy can't use its certificate: the file is missing, holds not both certificate and key, they don't belong together, or its user may not"
        " read it",
        "run gateway.yml again (it writes the file); by hand: certificate, chain and key in one PEM, mode 600; openssl x509 and openssl pkey -pubout"
        " of both must show one key",
        "HAProxy",
        "[ALERT]    (812) : config : parsing [haproxy.cfg:12] : 'bind *:443' : unable to stat SSL certificate from file '/srv/acme.pem' : No such"
        " file or directory.",
    ),
    Hint(
        "haproxy-files",
        r"Cannot raise FD limit to",
        "HAProxy needs more open files than its limit allows",
        "raise LimitNOFILE of its unit (the hard limit), or lower maxconn",
        "HAProxy",
        "[ALERT]    (812) : [haproxy.main()] Cannot raise FD limit to 8000, limit is 1024.",
    ),
    Hint(
        "haproxy-name",
        r"could not resolve address '",
        "HAProxy does not find a backend's address by its name when it starts, wrong or not known to DNS, or before the network is up",
        "correct the name in the inventory or in DNS (getent hosts NAME on the gateway), or give the address; at boot After=network-online.target",
        "HAProxy",
        "[ALERT]    (812) : config : [haproxy.cfg:40] : 'server acme/h1' : could not resolve address 'h1.lan'.",
    ),
    Hint(
        "haproxy-backends-down",
        r"has no server available!|is DOWN, reason: Layer[467] (?:connection problem|timeout|wrong status|invalid response)",
        "no backend, or not this one, answers the gateway: the service is down or still loads, a firewall stands between, or it answers its health"
        " check otherwise",
        "status.yml shows each service; from the gateway curl http://HOST:PORT/health; open the port to the gateway (deploy.yml with the firewall"
        " does)",
        "HAProxy",
        "[ALERT]    (812) : backend 'acme' has no server available!",
        passing=True,
        sure=False,
    ),
    Hint(
        "keepalived-password",
        r"\(\w{1,30}\) (?:received an invalid passwd|bad password|invalid auth)",
        "another host sends VRRP with the same number and another password: a second group of gateways in this network, or one that was not deployed anew",
        "give each group its own virtual router id; run gateway.yml on all gateways of the group",
        "keepalived",
        "Keepalived_vrrp[900]: (VI_1) received an invalid passwd!",
    ),
    Hint(
        "keepalived-interface",
        r"interface \S{1,20} (?:for vrrp[^\n]{0,30})?doesn't exist|Entering FAULT STATE|[Nn]etlink reports \S{1,20} down",
        "the network card that holds the gateway's moving address is down or not there",
        "ip link shows the cards: correct the interface in the inventory, or mend the link; then run gateway.yml again",
        "keepalived",
        "Keepalived_vrrp[900]: (VI_1) WARNING - interface eth9 for vrrp instance doesn't exist",
        sure=False,
    ),
    Hint(
        "keepalived-differs",
        r"associated with VRID \d{1,3} not present in MASTER advert|\(\w{1,30}\) received lower priority"
        r"|VRRP_Instance[^\n]{0,40}ip address[^\n]{0,40}not present",
        "the gateways of a group are not configured alike: they name other addresses or priorities",
        "run gateway.yml on all of the group in one run",
        "keepalived",
        "Keepalived_vrrp[900]: ip address associated with VRID 51 not present in MASTER advert : 10.0.0.9",
        sure=False,
    ),
    Hint(
        "keepalived-script",
        r"Unsafe permissions found for script|Disabling track script|script user .{1,40} does not exist",
        "keepalived does not run its check: the script or a folder above it can be written by others than root, or its user is missing",
        "run gateway.yml again; chown root:root and chmod 755 the script and the folders above",
        "keepalived",
        "Keepalived_vrrp[900]: Unsafe permissions found for script '/srv/acme/check.sh' - disabling.",
    ),
    Hint(
        "acme-challenge",
        r"\.well-known/acme-challenge/[^\n]{0,120}: (?:Timeout|Connection|Error|Invalid response)|DNS problem: (?:NXDOMAIN|SERVFAIL"
        r"|query timed out)|Timeout during connect \(likely firewall problem\)",
        "the certificate authority can't check that the name is this gateway's: the name leads elsewhere or nowhere, or port 80 is not open from outside",
        "the name's A and AAAA records must lead to this gateway, and port 80 be open to the authority; a private network needs the site's"
        " own ACME server or a certificate by hand",
        "certbot; RFC 8555",
        "Detail: 10.0.0.9: Fetching http://gw.example/.well-known/acme-challenge/ab: Timeout during connect (likely firewall problem)",
        sure=False,
    ),
    Hint(
        "acme-limit",
        r"too many (?:certificates|failed authorizations|new orders|registrations)[^\n]{0,80}|urn:ietf:params:acme:error:rateLimited",
        "the certificate authority gives no more for now: too many were asked for this name, or too many attempts failed",
        "wait as it says (a week for certificates, an hour for failures), try with its staging server, keep the certificates that are there",
        "Let's Encrypt, rate limits",
        "Error creating new order :: too many certificates (5) already issued for this exact set of domains",
    ),
    Hint(
        "prometheus-locked",
        r"opening storage failed: lock DB directory",
        "another Prometheus has this data folder open",
        "ps shows it: end it, or give this one another --storage.tsdb.path",
        "Prometheus",
        'level=error err="opening storage failed: lock DB directory: resource temporarily unavailable"',
    ),
    Hint(
        "prometheus-config",
        r"Error loading config \(--config\.file|error loading config from \S{0,80}(?:alertmanager|prometheus)",
        "Prometheus or Alertmanager does not take its configuration; the end of the line names the place",
        "promtool check config FILE (amtool check-config FILE) tests it; run monitoring.yml again, it writes its part anew",
        "Prometheus",
        'level=error msg="Error loading config (--config.file=prometheus.yml)" err="parsing YAML file: yaml: line 12: did not find expected key"',
    ),
    Hint(
        "prometheus-storage",
        r"opening storage failed: (?!lock)|component=tsdb[^\n]{0,40}compaction failed|[Cc]orruption in segment|(?:repair|reading) corrupted WAL",
        "Prometheus can't use its data: it may not write the folder, the disk is full, or a crash left a damaged part",
        "df -h and ls -ld of its data folder; a damaged part (its name is in the line): stop it, move that folder or the WAL aside, start it",
        "Prometheus, TSDB",
        'level=error err="opening storage failed: mkdir /srv/acme/wal: permission denied"',
        sure=False,
    ),
)
