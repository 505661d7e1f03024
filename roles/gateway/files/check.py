#!/usr/bin/env python3
"""Does the gateway on this host answer? check.py ADDRESS PORT ends with 0 if it does. For keepalived; standard library only, Python 3.8.

It asks as a caller does, over TLS. Who the certificate names is not its question: an address that moved away for that would help nobody.
"""

import http.client
import ssl
import sys

SECONDS = 4


def main():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    connection = http.client.HTTPSConnection(sys.argv[1], int(sys.argv[2]), timeout=SECONDS, context=context)
    try:
        connection.request("GET", "/health")
        return 0 if connection.getresponse().status == 200 else 1
    except (OSError, http.client.HTTPException):
        return 1


if __name__ == "__main__":
    sys.exit(main())
