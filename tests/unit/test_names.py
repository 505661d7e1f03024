"""Names, paths, addresses, mounts and rights."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import load

load("filter_plugins/plan.py")
container = load("filter_plugins/container.py")
from planning import names  # noqa: E402
from planning.rows import Faults  # noqa: E402


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (["a b"], "is no name"), (["a/b"], "is no name"), (["..a"], "is no name"), ([".a"], "is no name"), (["-a"], "is no name"),
        (["a..b"], "is no name"), (["a" * 64], "at most 63"), ([""], "is no name"), (["a@b"], "is no name"), (["a\n"], "is no name"),
        (["ä"], "is no name"), (["a:b"], "is no name"), (["a%b"], "is no name"), (["Demo", "demo"], "differ only in case"),
        ([7], "quote the name"), ([1.5], "quote the name"), ([True], "quote the name"),
    ],
)  # fmt: skip
def test_names_of_services_and_models(table: list[Any], words: str) -> None:
    assert words in " ".join(names.check_names("service", "services.yml", dict.fromkeys(table)))
    if len(str(table[0])) < 64:
        assert words in " ".join(names.check_names("model", "models.yml", dict.fromkeys(table)))


def test_no_service_is_called_as_all_of_them_are() -> None:
    assert "means every service" in " ".join(names.check_names("service", "services.yml", {"all": {}}))
    assert names.check_names("model", "models.yml", {"all": {}}) == []


@pytest.mark.parametrize("name", ["demo", "qwen2.5-vl-32b-instruct", "a", "A_b", "7b", "a" * 63])
def test_good_names(name: str) -> None:
    assert names.check_names("service", "services.yml", {name: {}}) == []


@pytest.mark.parametrize(
    ("path", "words"),
    [("/srv/v llm", "white space"), ("~/vllm", "whole path"), ("srv", "absolute"), ("/", "folder of its own"), ("/a/../b", "'..'"),
     ("/a\n", "white space"), ("/a\tb", "white space"), ("/a:b", "':'"), ("/a'b", "characters"), ("/a$b", "'\\$'"), ("/a,b", "','"),
     (7, "absolute"), (None, "absolute"), ("", "absolute")],
)  # fmt: skip
def test_paths_that_units_and_mounts_can_not_carry(path: Any, words: str) -> None:
    with pytest.raises(Faults, match=words if words != "characters" else "in it, which units"):
        names.check_path("here", "serving_root", path)


@pytest.mark.parametrize("path", ["/srv/vllm", "/home/zoë/.local/share/vllm-ansible", "/data/a_b-c.d+e@f=g"])
def test_good_paths(path: str) -> None:
    names.check_path("here", "serving_root", path)


@pytest.mark.parametrize(
    ("address", "url"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "0.0.0.0"), ("::1", "[::1]"), ("[::1]", "[::1]"), ("::", "[::]"), ("localhost", "localhost"),
     ("FE80::0001", "[fe80::1]"), ("gpu-01.example.org", "gpu-01.example.org")],
)  # fmt: skip
def test_addresses_as_urls_have_them(address: str, url: str) -> None:
    assert names.check_address("here", address, False) == url


@pytest.mark.parametrize(
    "address",
    [
        "127.1",
        "127.0.0.1:80",
        "*",
        "",
        "a b",
        "http://x",
        "256.0.0.1",
        "10.0.0.0/8",
        "-x",
        "fe80::1%eth0",
        "a_b",
        "0x7f000001",
        "10.0.0.0x1",
    ],
)
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(Faults, match="which is no address"):
        names.check_address("here", address, False)


@pytest.mark.parametrize("container", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "eth0",
        "lo",
        "enp4s0f1np1",
        "eno1",
        "ens192",
        "enP2p1s0",
        "enx0a1b2c3d4e5f",
        "ibp65s0",
        "ib0",
        "bond0.100",
        "docker0",
    ],
)
def test_an_interface_is_no_address(name: str, container: bool) -> None:
    with pytest.raises(Faults, match=f"'{name}', which is the name of a network interface; write the IP address"):
        names.check_address("here", name, container)


@pytest.mark.parametrize(
    "name", ["eth", "lo-1", "team1", "docker1", "usb0", "ensemble-1", "en0.example.org", "eth0.example.org", "brick1"]
)
def test_names_that_begin_like_an_interface(name: str) -> None:
    assert names.check_address("here", name, False) == name


def test_a_container_listens_on_numbers() -> None:
    with pytest.raises(Faults, match="write the IP address"):
        names.check_address("here", "gpu-01", True)
    for address, words in (("localhost", "127.0.0.1:80:80"), ("::1", "[::1]:80:80"), ("10.0.0.5", "10.0.0.5:80:80")):
        assert container.published({"service": "x", "address": address, "port": 80}) == words


@pytest.mark.parametrize(
    ("hub", "row", "words"),
    [
        ("huggingface", {"repo": "a/b", "revison": "x"}, "did you mean 'revision'?"),
        ("huggingface", {"org/names": "x"}, "unknown key 'org/names'"),
        ("modelscope", {"repo": "a/b", "revision": 1234567}, "quote it as the source shows it"),
        ("modelscope", {"repo": "a/b", "revision": 1e10}, "read as float; quote it"),
        ("modelscope", {"repo": "a/b", "revision": __import__("datetime").date(2025, 1, 1)}, "read as date; quote it"),
        ("modelscope", {"repo": "a/b", "revision": "a b"}, "a commit, a tag or a branch"),
        ("modelscope", {"repo": "a/b/c"}, "like org/name"),
        ("modelscope", {"repo": "https://x/y"}, "like org/name"),
        ("modelscope", {}, "has no 'repo'"),
        ("directory", None, "has no 'path'"),
        ("directory", {"path": 7}, "quote it"),
        ("directory", "/m", "must be a mapping"),
        ("mirror", {"url": "x"}, "must be like http"),
        (
            "mirror",
            {"url": "http://u:hidden@h/x"},
            "url is an address, but must be like http://host[:port]/path, without user, password",
        ),
        ("mirror", {"url": "https://h/x?token=hidden"}, "a token is mirror_token"),
    ],
)
def test_inner_keys_of_sources(hub: str, row: Any, words: str) -> None:
    with pytest.raises(Faults) as error:
        names.check_source("models.yml: model 'm'", hub, row)
    assert words in str(error.value) and f"sources.{hub}" in str(error.value) and "hidden" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/a", "source:target"), ("a:/b", "source is no absolute path"), ("/a:b", "target is no absolute path"), ("/a:/b:rx", "'rx'"),
        ("/a:/b:ro,rw", "contradict"), ("/a:/b:z,Z", "contradict"), ("/a:/b:rshared,rslave", "contradict"), ("/a b:/c", "a character"),
        ("/a,b:/c", "a character"), ("/a/../b:/c", "'..'"), ("/a:/config/x", "use of its own"), ("/a:/run/api_key", "use of its own"),
        ("/a:/", "use of its own"), ("/a:/models/x", "use of its own"), ("/a:/b:ro:x", "source:target"), (7, "source:target"),
        ("./a:/b", "absolute"), ("/a:/b:", "''"),
    ],
)  # fmt: skip
def test_mounts_that_no_container_gets(text: Any, words: str) -> None:
    with pytest.raises(Faults) as error:
        names.check_mounts("here", [text], [])
    assert words in str(error.value)


@pytest.mark.parametrize("address", ["224.0.0.1", "255.255.255.255", "240.0.0.1", "ff02::1", "[ff02::1]"])
def test_an_address_of_many_is_none_to_listen_on(address: str) -> None:
    with pytest.raises(Faults, match="no service can listen"):
        names.check_address("here", address, False)


@pytest.mark.parametrize("target", ["/usr", "/lib64", "/etc/", "/run/api_key/x"])
def test_a_mount_over_the_image_s_own_system_is_refused(target: str) -> None:
    with pytest.raises(Faults, match="has a use of its own in containers"):
        names.read_mount("here", f"/data:{target}")


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("/a:/b", "--mount=type=bind,source=/a,target=/b"),
        ("/a:/b:ro", "--mount=type=bind,source=/a,target=/b,readonly"),
        ("/a:/b:rw", "--mount=type=bind,source=/a,target=/b"),
        ("/a:/b:ro,rslave", "--mount=type=bind,source=/a,target=/b,readonly,bind-propagation=rslave"),
        ("/a:/b:ro,z", "--volume=/a:/b:ro,z"),
        ("/a:/b:Z", "--volume=/a:/b:Z"),
    ],
)
def test_options_of_mounts_reach_docker(text: str, option: str) -> None:
    names.check_mounts("here", [text], [])
    assert container.bind(text) == option


@pytest.mark.parametrize(
    ("text", "right"),
    [("/:/host", "mount:/"), ("//:/host:ro", "mount:/"), ("/./:/host:ro", "mount:/"), ("/var/run/docker.sock:/d.sock", "mount:/var/run/docker.sock"),
     ("/run/containerd/containerd.sock:/c", "mount:/run/containerd/containerd.sock"), ("/etc:/x:ro", "mount:/etc"), ("/etc/cron.d:/x", "mount:/etc/cron.d"),
     ("/root/.ssh:/x:ro", "mount:/root/.ssh"), ("/proc/1:/x", "mount:/proc/1"), ("/var/lib/docker:/x:ro", "mount:/var/lib/docker"),
     ("/home/u/.aws:/x:ro", "mount:/home/u/.aws"), ("/home/u/.kube/config:/x:ro", "mount:/home/u/.kube/config"),
     ("/etc/kubernetes/pki:/x:ro", "mount:/etc/kubernetes/pki"), ("/data:/x:rshared", "mount:/data"), ("/usr/bin:/x", "mount:/usr/bin")],
)  # fmt: skip
def test_a_mount_that_gives_the_host_is_a_right(text: str, right: str) -> None:
    with pytest.raises(Faults) as error:
        names.check_mounts("here", [text], [])
    assert f"add '{right}' to rights" in str(error.value)
    names.check_mounts("here", [text], [right])
    names.check_rights("here", [right])


@pytest.mark.parametrize(
    "text",
    [
        "/usr/local/dcmi:/usr/local/dcmi:ro",
        "/etc/ascend_install.info:/etc/a:ro",
        "/data/x:/data",
        "/srv/loras:/loras:ro",
    ],
)
def test_data_and_drivers_are_no_rights(text: str) -> None:
    names.check_mounts("here", [text], [])


def test_two_mounts_on_one_target() -> None:
    with pytest.raises(Faults, match="one target"):
        names.check_mounts("here", ["/a:/x", "/b:/x/"], [])


@pytest.mark.parametrize(
    ("hub", "row", "words"),
    [
        ("huggingface", {"repo": "a/.."}, "org/name"), ("huggingface", {"repo": "a/b", "revision": "../x"}, "a commit"),
        ("huggingface", {"repo": "a/b", "revision": "-x"}, "a commit"), ("mirror", {"url": "http://[::1"}, "http://host"),
        ("mirror", {"url": "http://host:x/"}, "http://host"), ("mirror", {"url": "http:///models"}, "http://host"),
        ("mirror", {"url": "http://host/\n"}, "http://host"), ("directory", {"path": "models"}, "whole path"),
        ("directory", {"path": "~/models"}, "whole path"), ("directory", {"path": "/"}, "whole path"),
        ("directory", {"path": "/a/../b"}, "whole path"), ("directory", {"path": "/a\n"}, "whole path"),
    ],
)  # fmt: skip
def test_sources_that_no_fetch_could_read(hub: str, row: dict[str, Any], words: str) -> None:
    with pytest.raises(Faults, match=words):
        names.check_source("here", hub, row)


@pytest.mark.parametrize(
    ("hub", "row"),
    [
        ("huggingface", {"repo": "org/name-1.5_b", "revision": "refs/pr/3"}), ("mirror", {"url": "https://host:8443/a"}),
        ("mirror", {"url": "http://[::1]:8000"}), ("directory", {"path": "/data/my models/x"}),
    ],
)  # fmt: skip
def test_sources_that_are_good(hub: str, row: dict[str, Any]) -> None:
    names.check_source("here", hub, row)


@pytest.mark.parametrize(
    "source",
    [
        "/run/containerd",
        "/run/user/0",
        "/home/op/.ssh",
        "/etc/shadow",
        "/etc/ssh/ssh_host_rsa_key",
        "/var/spool/cron",
        "/var/run/docker",
    ],
)
def test_a_mount_of_keys_or_of_control_is_a_right(source: str) -> None:
    assert names.right_of(names.read_mount("here", f"{source}:/x:ro")) == f"mount:{source}"
