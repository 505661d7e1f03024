"""Failure hints: container images that can't be unpacked, stored or run here."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "image-gone",
        r"No such image: ([^\s]{1,200})|: image not known",
        "the image is gone from this host",
        "run deploy.yml --tags fetch",
        "Docker 26.1.5; podman",
        "docker: Error response from daemon: No such image: sha256:bb38e4243cac.",
    ),
    Hint(
        "image-unknown",
        r"manifest unknown|manifest for ([^\s]{1,200}) not found|failed to resolve reference [^\n]{0,300}: not found",
        "the registry has no such tag or digest",
        "correct the row's `image`",
        "OCI distribution specification, error codes",
        "docker: Error response from daemon: manifest for acme/vllm:v9 not found: manifest unknown: manifest unknown.",
    ),
    Hint(
        "image-other-architecture",
        r"[Ee]xec format error|no image found in (?:image index|manifest list) for architecture|no matching manifest for (linux/\S{1,40})"
        r"|does not match the specified platform: wanted",
        "the image (or what it runs) is built for another processor architecture, or a script has no #! line",
        "use an image for this host's architecture (uname -m)",
        "Linux, ENOEXEC; moby",
        "exec /usr/local/bin/vllm: exec format error",
    ),
    Hint(
        "image-disk-full",
        r"(?:layer|unpack|pull|copying|storing|writing blob|Untar|overlay2?)[^\n]{0,400}no space left on device",
        "the disk with the container engine's data has no room left, or no inodes, or podman's /var/tmp, where it unpacks",
        "docker system df, df -h and df -i of its data folder (/var/lib/docker, /var/lib/containers); remove what is not needed, or move the folder;"
        " podman: df -h /var/tmp; TMPDIR names another",
        "moby, layer store",
        "failed to register layer: write /usr/lib/x.so: no space left on device",
    ),
    Hint(
        "layer-owner",
        r"failed to [Ll]chown \"[^\"\n]{1,160}\"(?![^\n]{0,200}: (?:invalid argument|operation not))",
        "Docker could not give a file of the image its owner while it unpacked it: an engine without root has a fault there (27.0.0 and 27.0.1 do,"
        " with /dev), or its storage does not keep owners",
        "use another release of Docker (a later 27), look at the file system below its data folder, then run deploy.yml --tags fetch",
        "moby/moby#48064",
        'docker: failed to register layer: failed to Lchown "/dev/acme" for UID 0, GID 0: lchown /dev/acme: no such file or directory',
        sure=False,
    ),
)
