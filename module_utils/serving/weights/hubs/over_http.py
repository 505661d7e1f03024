"""The hubs' own clients, over our HTTP: they know the hubs' interfaces, we know what a listing may take and who gets the token."""

from __future__ import annotations

import importlib
import io
import time
import urllib.parse
from typing import Any

from ansible.module_utils.serving.deadlines import Limits
from ansible.module_utils.serving.files import human
from ansible.module_utils.serving.weights.answers import Transient
from ansible.module_utils.serving.weights.client import Client, Document
from ansible.module_utils.serving.weights.listing import SourceFailed

PAGE, PAGES, LISTING = 64 << 20, 200, 256 << 20  # bytes of a page, pages, bytes of a whole listing
SAME = 3  # times that one address may be asked for: a page that names itself as the next one would be read for ever
KEPT = ("accept", "user-agent")  # headers that any host may have; what else a client sends is for its hub alone
DROPPED = ("content-encoding", "content-length", "transfer-encoding", "connection")  # of an answer that is whole


# What a client asks for its own statistics: huggingface_hub 2.4 asks it of huggingface.co wherever the model's hub is, and where no way leads
# there each process would wait half a minute for it.
STRAY = ("/api/agent-harnesses",)


class Line:
    """What one listing asks over the network."""

    def __init__(self, endpoint: str, limits: Limits) -> None:
        self.client = Client({}, endpoint, None, limits)
        self.client.until = time.monotonic() + limits.listing
        self.asked: dict[str, int] = {}
        self.bytes = 0

    def request(self, method: str, url: str, headers: Any) -> Document:
        """The answer to a client's request, whatever its status. SourceFailed where the hub can't be asked or goes too far."""
        if method not in ("GET", "HEAD"):
            raise SourceFailed("its client wants to %s %s, and a listing only reads" % (method, url[:200]))
        if urllib.parse.urlsplit(url).path in STRAY:
            return Document(404, {"Content-Type": "application/json"}, b"{}")
        self.asked[url] = self.asked.get(url, 0) + 1
        if self.asked[url] > SAME or sum(self.asked.values()) > PAGES:
            raise SourceFailed(
                "its listing has no end: %s"
                % ("a page comes again" if self.asked[url] > SAME else "more than %d pages" % PAGES)
            )
        given = {str(name).lower(): str(value) for name, value in headers.items()}
        self.client.headers = {name: given[name] for name in ("authorization", "cookie") if name in given}
        shown = {name.title(): given[name] for name in KEPT if name in given}
        try:
            for tell in self.client.tries("its listing"):
                try:
                    found = self.client.document(url, PAGE, shown, method, any_status=True)
                    tell(None, 0)
                except Transient as problem:
                    tell(problem, 0)
        except SourceFailed as failure:
            raise SourceFailed(
                "%s (check the network, fetch_environment (proxy, CA) and the endpoint)" % failure
            ) from None
        self.bytes += len(found.body)
        if self.bytes > LISTING:
            raise SourceFailed("its listing is larger than %s" % human(LISTING))
        kept = {name: value for name, value in found.headers.items() if name.lower() not in DROPPED}
        return found._replace(headers=kept)


def over_httpx(line: Line) -> None:
    """Have huggingface_hub use our line. Its HTTP library is httpx, since 2.0 httpx2."""
    import huggingface_hub

    library: Any = importlib.import_module(type(huggingface_hub.get_session()).__module__.partition(".")[0])

    class Transport(library.BaseTransport):
        def handle_request(self, request: Any) -> Any:
            found = line.request(request.method, str(request.url), request.headers)
            return library.Response(found.status, headers=found.headers, content=found.body, request=request)

    def session() -> Any:
        return library.Client(transport=Transport(), follow_redirects=False, timeout=None)

    huggingface_hub.set_client_factory(session)


def over_requests(line: Line, holder: Any) -> None:
    """Give the sessions of requests that an object has our line. SourceFailed if it has none: then nothing would be bounded."""
    import requests

    class Adapter(requests.adapters.BaseAdapter):
        def send(self, request: Any, *_: Any, **__: Any) -> Any:
            found = line.request(request.method, request.url, request.headers)
            answer = requests.Response()
            answer.status_code, answer.url, answer.request = found.status, request.url, request
            answer.headers = requests.structures.CaseInsensitiveDict(found.headers)
            answer.encoding = requests.utils.get_encoding_from_headers(answer.headers)
            answer.raw = io.BytesIO(found.body)
            return answer

        def close(self) -> None: ...

    sessions = [value for value in vars(holder).values() if isinstance(value, requests.Session)]
    if not sessions:
        raise SourceFailed("its client has no session that this version knows")
    for session in sessions:
        for scheme in ("https://", "http://"):
            session.mount(scheme, Adapter())
