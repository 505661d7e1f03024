"""Names, paths, addresses, mounts and rights, as far as a file name, a URL or a command line can carry them."""

from __future__ import annotations

import ipaddress
import posixpath
import re
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .rows import Collected, fail, nearest, type_name

SERVICE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")  # a unit, a container, a folder
MODEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,94}[A-Za-z0-9])?")  # <name>@<revision>+float16 is a folder
REPO = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w-][\w.-]*)?")
IMAGE = re.compile(r"[A-Za-z0-9][\w.-]*(:\d+)?(/[\w.-]+)*(:[\w.-]+)?(@sha256:[\w]+)?")
PATH = re.compile(r"/[\w./@+=-]*")
HOST = re.compile(
    r"(?=.{1,253}$)[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*"
)
# What Linux calls network interfaces, by systemd's scheme and by drivers', as far as no host is called so; preflight knows the others.
INTERFACE = re.compile(
    r"lo|(?:eth|ib|wlan|hsn|virbr)\d{1,4}(?:\.\d{1,4})?|docker0|(?:br|bond)0(?:\.\d{1,4})?"
    r"|(?:en|ib)(?:o\d+|s\d+|x[0-9a-f]{12}|(?:P\d+)?p\d+s\d+)(?:f\d+)?(?:d\d+)?(?:n\w{0,3}\d+)?"
)
SOURCES: dict[str, tuple[str, ...]] = {
    "modelscope": ("repo", "revision"),
    "huggingface": ("repo", "revision"),
    "mirror": ("url", "revision"),
    "directory": ("path",),
}
RIGHTS = {
    "writable-root": "the image writes outside /tmp and /cache",
    "host-network": "the container shares the host's network: multi-node serving",
    "cap:<NAME>": "a Linux capability, such as cap:SYS_NICE for memory binding on several NUMA nodes",
    "seccomp:unconfined": "no filter of system calls",
    "mount:<PATH>": "a mount of the host that gives more than data, such as mount:/var/run/docker.sock",
}
RIGHT = re.compile(r"writable-root|host-network|seccomp:unconfined|cap:[A-Z_]+|mount:/.*")
PROPAGATION = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
# Folders of the host that say how it runs, and whose mount is a right of its own; below some of them everything.
SYSTEM = ("/", "/etc", "/home", "/var", "/var/lib", "/usr")
SYSTEM_WHOLE = (
    "/root", "/boot", "/proc", "/sys", "/dev", "/run", "/var/run", "/var/lib/docker", "/var/lib/containerd", "/var/lib/kubelet",
    "/var/spool/cron", "/etc/shadow", "/etc/gshadow", "/etc/sudoers", "/etc/sudoers.d", "/etc/ssh",
    "/etc/kubernetes", "/etc/rancher",
)  # fmt: skip
CREDENTIALS = {
    ".ssh",
    ".aws",
    ".azure",
    ".gcloud",
    ".kube",
    ".docker",
    ".gnupg",
    ".netrc",
    ".git-credentials",
    ".vault_pass",
}
READ_ONLY = ("/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64")
INSIDE = (
    "/",
    "/config",
    "/models",
    "/cache",
    "/run",
    "/run/api_key",
    "/run/secret_env",
    "/proc",
    "/sys",
    "/dev",
    *READ_ONLY,
)


def check_names(what: str, file: str, table: Mapping[Any, Any]) -> list[str]:
    """Faults in the names of a table: characters, length, and names that differ only in case."""
    pattern = MODEL if what == "model" else SERVICE
    found, folded = [], dict[str, str]()
    for name in table:
        if not isinstance(name, str):
            found.append(f"{file}: {what} {name!r} is a {type_name(name)} for YAML; quote the name")
            continue
        if not pattern.fullmatch(name) or ".." in name:
            found.append(
                f"{file}: {what} '{name}' is no name: letters, digits, '-', '_' and '.', with a letter or digit first and last, "
                f"no '..', at most {63 if what == 'service' else 96} characters"
            )
        if what == "service" and name.lower() == "all":
            found.append(f"{file}: a service can't be called '{name}': `-e service=all` means every service; rename it")
        other = folded.setdefault(name.lower(), name)
        if other != name:
            found.append(f"{file}: {what}s '{other}' and '{name}' differ only in case; rename one")
    return found


def below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(folder.rstrip("/") + "/") for folder in folders)


def check_path(where: str, name: str, value: Any, example: str = "/srv/vllm") -> None:
    """A path that unit files, shells and mounts can carry as it is."""
    if not isinstance(value, str):
        fail(f"{where}: '{name}' is {value!r}, but must be an absolute path, such as {example}")
    if value.startswith("~"):
        fail(f"{where}: '{name}' is {value!r}; nothing expands '~' there: write the whole path")
    if not value.startswith("/"):
        fail(f"{where}: '{name}' is {value!r}, but must be an absolute path, such as {example}")
    if ".." in value.split("/") or posixpath.normpath(value) == "/":
        fail(f"{where}: '{name}' is {value!r}, but must be a folder of its own, without '..', such as {example}")
    if not PATH.fullmatch(value):
        odd = next(character for character in value if not PATH.fullmatch("/" + character))
        fail(
            f"{where}: '{name}' is {value!r} with {'white space' if odd.isspace() else repr(odd)} in it, which units and "
            f"containers can't carry; choose a path of letters, digits and ./_-@+=, such as {example}"
        )


def check_address(where: str, address: str, container: bool) -> str:
    """The address as a URL has it, IPv6 in brackets."""
    bare = address.strip("[]") if address.startswith("[") and address.endswith("]") else address
    try:
        parsed = ipaddress.ip_address("" if "%" in bare else bare)
    except ValueError:
        if INTERFACE.fullmatch(bare):
            fail(
                f"{where}: 'address' is {address!r}, which is the name of a network interface; write the IP address that it has "
                "(`ip address` shows it), or 0.0.0.0 for all"
            )
        if (
            re.fullmatch(r"[\d.]+|.*[:%*/].*", bare)
            or not HOST.fullmatch(bare)
            or re.fullmatch(r"\d+|0[xX].*", bare.rpartition(".")[2])
        ):
            fail(
                f"{where}: 'address' is {address!r}, which is no address; write one of the host's own, such as 127.0.0.1, "
                "::1, 10.0.0.5, or 0.0.0.0 for all"
            )
        if container and bare != "localhost":
            fail(
                f"{where}: 'address' is the name {address!r}, and a container's port is published on a number; write the IP address"
            )
        return bare
    if parsed.is_multicast or (parsed.version == 4 and parsed.is_reserved):
        fail(
            f"{where}: 'address' is {address!r}, on which no service can listen, so it is no address here; write one of the host's own"
        )
    return f"[{parsed}]" if parsed.version == 6 else str(parsed)


def is_url(text: str | None) -> bool:
    """Is it the address of an HTTP server, without user, password and query? Whatever its host is called."""
    if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", text or ""):
        return False
    try:
        parts = urllib.parse.urlsplit(text or "")
        return bool(parts.hostname) and parts.port != 0 and not ("@" in parts.netloc or parts.query or parts.fragment)
    except ValueError:  # [::1 without its bracket, a port that is no number
        return False


def is_folder(text: str) -> bool:
    """Is it the whole path of a folder? White space is allowed, for nothing but our own module reads it."""
    plain = text.startswith("/") and ".." not in text.split("/") and posixpath.normpath(text).strip("/") != ""
    return plain and text.isprintable() and text == text.strip()


def check_source(where: str, hub: str, row: Any) -> None:
    """The keys of one source of a model, and that YAML read them as text."""
    if row is None:
        row = {}
    if not isinstance(row, Mapping):
        fail(f"{where}: sources.{hub} is {row!r}, but must be a mapping like {{{', '.join(SOURCES[hub])}}}")
    found = Collected()
    for key, value in row.items():
        if key not in SOURCES[hub]:
            found.run(fail, f"{where}: sources.{hub} has an unknown key '{key}'; {nearest(key, SOURCES[hub])}")
        elif value is not None and (not isinstance(value, str) or not value):
            found.run(
                fail,
                f"{where}: sources.{hub}.{key} is {value!r}, which YAML read as {type_name(value)}; quote it as the source shows it",
            )
        elif key == "repo" and not REPO.fullmatch(value or ""):
            found.run(fail, f"{where}: sources.{hub}.repo is {value!r}, but must be like org/name")
        elif key == "revision" and value is not None and (".." in value or not re.fullmatch(r"\w[\w.+/-]*", value)):
            found.run(fail, f"{where}: sources.{hub}.revision is {value!r}, but must be a commit, a tag or a branch")
        elif key == "url" and not is_url(value):
            shown = (
                "an address" if re.search("[@?#]", str(value)) else repr(value)
            )  # what may be a password is not said
            found.run(
                fail,
                f"{where}: sources.{hub}.url is {shown}, but must be like http://host[:port]/path, without user, password and query; "
                f"a token is {hub}_token",
            )
        elif key == "path" and value is not None and not is_folder(value):
            found.run(
                fail,
                f"{where}: sources.{hub}.path is {value!r}, but must be the whole path of a folder, such as /data/models/name; "
                "'~' and '..' are not expanded",
            )
    needed = SOURCES[hub][0]
    if not row.get(needed):
        found.run(fail, f"{where}: sources.{hub} has no '{needed}'; it needs one")
    found.end()


class Mount(NamedTuple):
    """One row of `mounts`: paths of the host and of the container, and options."""

    source: str
    target: str
    options: tuple[str, ...]

    @property
    def read_only(self) -> bool:
        return "ro" in self.options


def read_mount(where: str, text: Any) -> Mount:
    """`source:target[:options]`, options being ro or rw, z or Z, and a propagation. Raises Faults."""
    example = "write source:target[:ro], such as /data:/data:ro"
    if not isinstance(text, str):
        fail(f"{where}: mounts has {text!r}; {example}")
    source, *rest = text.split(":")
    if not 1 <= len(rest) <= 2:
        fail(f"{where}: mounts has '{text}'; {example}")
    options = tuple(rest[1].split(",")) if len(rest) == 2 else ()
    for option in options:
        if option not in ("ro", "rw", "z", "Z", *PROPAGATION):
            fail(
                f"{where}: mounts has '{text}' with the option '{option}'; {nearest(option, ('ro', 'rw', 'z', 'Z', *PROPAGATION))}"
            )
    for kinds in (("ro", "rw"), ("z", "Z"), PROPAGATION):
        if len(set(options) & set(kinds)) > 1:
            fail(
                f"{where}: mounts has '{text}', whose options contradict each other; keep one of {' and '.join(sorted(set(options) & set(kinds)))}"
            )
    for what, path in (("source", source), ("target", rest[0])):
        if not path.startswith("/"):
            fail(f"{where}: mounts has '{text}', whose {what} is no absolute path; {example}")
        if ".." in path.split("/") or not PATH.fullmatch(path):
            fail(
                f"{where}: mounts has '{text}', whose {what} has '..' or a character other than letters, digits and ./_-@+=; {example}"
            )
    target = posixpath.normpath("/" + rest[0].lstrip("/"))
    if target in INSIDE or below(target, ("/config", "/models", "/run/api_key", "/run/secret_env", "/proc", "/sys")):
        fail(
            f"{where}: mounts has '{text}', whose target {target} has a use of its own in containers; choose another, such as /data"
        )
    return Mount(posixpath.normpath("/" + source.lstrip("/")), target, options)


def right_of(mount: Mount) -> str | None:
    """The right that a mount takes beyond data, if any: the host's system, a container engine's socket, mounts that spread."""
    source = mount.source
    power = (
        source in SYSTEM
        or below(source, SYSTEM_WHOLE)
        or source.endswith(".sock")
        or bool(CREDENTIALS & set(source.split("/")))
        or (below(source, READ_ONLY) and not mount.read_only)
        or bool({"shared", "rshared"} & set(mount.options))
    )
    return f"mount:{source}" if power else None


def check_mounts(where: str, mounts: list[Any], rights: list[Any]) -> None:
    found, targets = Collected(), dict[str, str]()
    for text in mounts:
        mount = found.run(read_mount, where, text)
        if mount is None:
            continue
        right = right_of(mount)
        if right and right not in rights:
            found.run(
                fail,
                f"{where}: mounts has '{text}', which gives the container more of the host than data; if that is meant, "
                f"add '{right}' to rights, so that the report shows it",
            )
        if mount.target in targets:
            found.run(fail, f"{where}: mounts has '{targets[mount.target]}' and '{text}' with one target; keep one")
        targets[mount.target] = text
    found.end()


def check_rights(where: str, rights: list[Any]) -> None:
    found = Collected()
    for right in rights:
        if not isinstance(right, str) or not RIGHT.fullmatch(right):
            found.run(fail, f"{where}: right {right!r} is unknown; there are {', '.join(RIGHTS)}")
    found.end()


def check_places(where: str, service: Mapping[str, Any]) -> str:
    """Paths, mounts, rights and the address of a service. Returns the address as a URL has it."""
    found = Collected()
    served = service["served_name"]
    if served is not None and (not served.isprintable() or served != served.strip()):
        found.run(
            fail,
            f"{where}: 'served_name' is {served!r}, but callers write it: no line breaks, and no white space around it",
        )
    if service["native_env"] is not None:
        found.run(check_path, where, "native_env", service["native_env"], "/opt/vllm")
    for node in service["device_nodes"]:
        if not isinstance(node, str) or not node.startswith("/dev/"):
            found.run(
                fail,
                f"{where}: device_nodes has {node!r}, but must have paths below /dev, such as /dev/davinci{{index}}",
            )
    if service["image"] and not IMAGE.fullmatch(service["image"]):
        found.run(fail, f"{where}: 'image' is {service['image']!r}, but must be like registry/name:tag@sha256:digest")
    found.run(check_rights, where, service["rights"])
    found.run(check_mounts, where, service["mounts"], service["rights"])
    address = found.run(check_address, where, service["address"], service["runtime"] == "container")
    found.end()
    return str(address)
