"""Failure hints: what Ansible and a host's package manager say when a task can't be done on it."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "ansible-python",
        r"(?:MODULE FAILURE|module_stderr|interpreter)[^\n]{0,200}/[\w./+-]{1,120}: (?:No such file or directory|not found)",
        "Ansible finds no Python on the host where it looks",
        "install python3 there, or correct ansible_python_interpreter in the inventory",
        "ansible/ansible#18846",
        'h | FAILED! => {"module_stderr": "/bin/sh: /opt/acme/python: No such file or directory", "msg": "MODULE FAILURE"}',
    ),
    Hint(
        "ansible-remote-tmp",
        r"Authentication or permission failure\. In some cases|Failed to create temporary directory",
        "Ansible can't make its temporary folder on the host: the user's home is missing or closed, or the disk is full",
        "log in as that user: mkdir -p ~/.ansible/tmp and df -h ~ show why; else set ansible_remote_tmp to a folder that it may write",
        "ansible, ssh connection plugin",
        'fatal: [h]: UNREACHABLE! => {"msg": "Failed to create temporary directory. In some cases, you may have been able to authenticate"}',
    ),
    Hint(
        "ssh-broken-off",
        r"(?:kex_exchange_identification|ssh_exchange_identification): |Host key verification failed",
        "ssh did not come as far as a login: the host's key is another one than before, its sshd takes no more connections or not from here"
        " (hosts.deny, fail2ban, MaxStartups), or something else listens there",
        "ssh -v USER@HOST shows it; for a host that was made anew ssh-keygen -R HOST after you have checked its key; else journalctl -u ssh on the"
        " host",
        "OpenSSH",
        "ssh_exchange_identification: read: Connection reset by peer",
        sure=False,
    ),
    Hint(
        "ansible-ssh",
        r"Failed to connect to the host via ssh",
        "Ansible can't log in to the host",
        "the end of the message is ssh's own reason; ssh -v with the same user, port and key shows it (ansible_host, ansible_user, ansible_port)",
        "ansible, ssh connection plugin",
        'fatal: [h]: UNREACHABLE! => {"msg": "Failed to connect to the host via ssh: acme"}',
        sure=False,
    ),
    Hint(
        "sudo-without-right",
        r"must be owned by uid 0 and have the setuid bit|sudo: effective uid is not 0",
        "sudo itself has lost its right on this host: its owner or mode was changed (chown -R, chmod -R), or its mount is nosuid",
        "as root: chown root:root /usr/bin/sudo; chmod 4755 /usr/bin/sudo; take nosuid out of that mount",
        "sudo",
        "sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set",
    ),
    Hint(
        "sudo-slow",
        r"Timeout \(\d{1,4}s\) waiting for privilege escalation",
        "sudo did not ask or answer in Ansible's time: it waits for DNS or a directory service, the host is busy, or it asks for a password in other"
        " words",
        "time sudo -n true on the host; its own name into /etc/hosts; ANSIBLE_TIMEOUT=60 and fewer forks; else --ask-become-pass",
        "ansible/ansible#33699, #14426",
        'fatal: [h]: FAILED! => {"msg": "Timeout (12s) waiting for privilege escalation prompt: "}',
        sure=False,
    ),
    Hint(
        "ansible-sudo",
        r"(?:Missing|Incorrect) (?:sudo|su) password|sudo: a (?:password|terminal) is required|is not in the sudoers file"
        r"|is not allowed to (?:execute|run sudo)",
        "Ansible may not become root on the host without a password, or with the one that it has",
        "give it with --ask-become-pass or ansible_become_password (vaulted), or let sudo ask that user for none",
        "ansible, become plugins",
        'fatal: [h]: FAILED! => {"msg": "Missing sudo password"}',
    ),
    Hint(
        "ansible-mixed",
        r"Could not find imported module support code for",
        "a module of another version of Ansible, or of a collection that is not here, is found first",
        "remove old modules from library folders and ANSIBLE_LIBRARY; run from an environment with this project's requirements.lock alone",
        "ansible/ansible#71967",
        'fatal: [h]: FAILED! => {"msg": "Could not find imported module support code for ansible.modules.acme. Looked for (acme)"}',
    ),
    Hint(
        "ansible-host-package",
        r"Unable to find any of pip\d?\S{0,6} to use|Could not import the (?:dnf|apt|yum|python3?-\w{1,20}) (?:python )?module",
        "a module of Ansible needs a package of the host's own Python that is not there",
        "install the one that the message names (python3-pip, python3-dnf, python3-apt), or correct ansible_python_interpreter to the system's Python",
        "ansible, modules pip, dnf and apt",
        'fatal: [h]: FAILED! => {"msg": "Unable to find any of pip3 to use. pip needs to be installed."}',
    ),
    Hint(
        "host-package-missing",
        r"E: Unable to locate package|Unable to find a match: |No match(?:es found)? for(?: argument)?: |has no installation candidate"
        r"|No package \S{1,60} available"
        r"|No package matching '[^'\n]{1,120}' (?:is available|found available)",
        "the host's package manager knows no package of that name: its repository is not configured, its lists are old, or this release has none",
        "add the repository (NVIDIA's, Docker's) or its mirror, run apt-get update or dnf makecache, and check the name for this distribution",
        "apt; dnf",
        "E: Unable to locate package acme-toolkit",
        late=True,
    ),
    Hint(
        "host-repository",
        r"no valid OpenPGP data found|does not have a Release file|The repository '[^'\n]{1,200}' is not signed|Failed to download metadata for repo",
        "a repository of the host's packages, or its key, can't be had: its address is wrong for this distribution, it is gone, or a proxy gives"
        " another page; or this host does not reach it (DNS, firewall, no proxy set)",
        "open the address with curl -v from this host; correct it below /etc/apt/sources.list.d or /etc/yum.repos.d, or name the site's mirror",
        "apt; dnf; NVIDIA/nvidia-container-toolkit, installation",
        "gpg: no valid OpenPGP data found.",
    ),
    Hint(
        "ansible-older-than-python",
        r"'CustomHTTPSConnection' object has no attribute 'cert_file'|No module named 'ansible\.module_utils\.six\.moves'",
        "the controller's Ansible is older than the Python of that host (3.12 or newer), which it does not know",
        "upgrade ansible-core on the controller (2.16 or newer; run make again), or set ansible_python_interpreter to an older Python of the host",
        "geerlingguy/ansible-role-docker#452",
        "An unknown error occurred: 'CustomHTTPSConnection' object has no attribute 'cert_file'",
    ),
    Hint(
        "ansible-docker-library",
        r"Failed to import (?:docker-py|docker or docker-py|the required Python library \(Docker SDK)",
        "Docker's Python library is not there for the interpreter that Ansible uses on that host",
        "install python3-docker (or pip install docker) for that interpreter, or set ansible_python_interpreter to one that has it",
        "ansible/ansible#21086, #37640",
        'h | FAILED! => {"changed": false, "msg": "Failed to import docker-py - No module named docker."}',
    ),
    Hint(
        "ansible-module-removed",
        r"This module has been removed\. The module documentation|This module has been removed from",
        "this version of Ansible, or of the collection, no longer has a module that the play uses",
        "run the play with the Ansible of this project's own environment (requirements.lock), and no other versions of collections on its path",
        "ansible/ansible, plugins/action",
        'h | FAILED! => {"changed": false, "msg": "This module has been removed. The module documentation may contain hints"}',
    ),
)
