"""Failure hints: units that systemd can't start, or that it ends."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "systemd-step",
        r"Failed at step (?:OOM_ADJUST|CGROUP|LIMITS|NICE|CAPABILITIES|SECCOMP|APPARMOR_PROFILE|SELINUX_CONTEXT|KEYRING|CPUAFFINITY"
        r"|SCHED\w{2,10}) spawning",
        "systemd may not set something for the unit that the message names after `step`: this host (a container, or a user's systemd) refuses it",
        "remove that setting from the unit or its drop-ins (systemctl cat UNIT), or give the outer container the right to it",
        "systemd.exec(5); systemd/systemd#719",
        "systemd[7]: Failed at step OOM_ADJUST spawning /usr/bin/acme: Permission denied",
    ),
    Hint(
        "systemd-exec",
        r"status=203/EXEC|Failed (?:at step EXEC|to execute (?:command|/))|Failed to locate executable",
        "systemd can't run the unit's program: it is missing, not executable, on a file system without exec, or SELinux refuses it",
        "run deploy.yml again; ls -lZ of the program that the journal names, and its #! line; under SELinux a program below /home is refused: move"
        " it, or chcon -t bin_t (semanage fcontext keeps it)",
        "systemd.exec, exit codes",
        "Nov 20 10:11:12 host systemd[1]: vllm-x.service: Main process exited, code=exited, status=203/EXEC",
    ),
    Hint(
        "systemd-user",
        r"status=21[67]/(?:USER|GROUP)|Failed at step (?:USER|GROUP)|Failed to determine (?:user|group|supplementary) ",
        "the unit's user or group is not known on this host (LDAP's not yet, at boot), or (216, not permitted) a user's own systemd may not change it",
        "create it (getent passwd shows who there is), or correct User= and Group= of the unit; take User=, Group=, SupplementaryGroups= out of a"
        " --user unit; LDAP: After=nss-user-lookup.target",
        "systemd.exec, exit codes",
        "host systemd[1]: vllm-x.service: Failed to determine user credentials: No such process",
    ),
    Hint(
        "systemd-folder",
        r"status=(?:200/CHDIR|210/CHROOT)|Changing to the requested working directory failed|Failed at step CHDIR",
        "the unit's working folder is not there or closed for its user",
        "run deploy.yml again; look at the modes of all its parents",
        "systemd.exec, exit codes",
        "host systemd[1]: vllm-x.service: Changing to the requested working directory failed: No such file or directory",
    ),
    Hint(
        "systemd-sandbox",
        r"status=(?:226/NAMESPACE|22[578]/\w{3,20}|21[58]/CAPABILITIES|207/SIGNAL_MASK|220/SETSID|23[27]/\w{3,20}|245/BPF)"
        r"|Failed (?:at step|to set up) (?:mount )?(?:NAMESPACE"
        r"|namespacing)",
        "systemd can't make the unit's sandbox: a path that it names is missing, or the host (a container) can't do it",
        "the journal's line before names the path; make it, or remove that option from a drop-in of the unit; in an LXC container allow nesting",
        "systemd.exec, exit codes",
        "host systemd[1]: vllm-x.service: Failed at step NAMESPACE spawning /srv/x/start: No such file or directory",
    ),
    Hint(
        "systemd-own-folder",
        r"status=2\d\d/\w{3,14}_DIRECTORY|Failed (?:at step \w{3,14}_DIRECTORY|to set up special execution directory)",
        "systemd can't make a folder of the unit's own (below /run, /var/lib, /var/cache or /var/log): something else of that name is there, or"
        " the file system takes no writes",
        "the journal's line before names it; remove what is in its place, or correct RuntimeDirectory= and StateDirectory=",
        "systemd.exec, exit codes; vstakhov/rmilter#133",
        "systemd[24168]: Failed at step RUNTIME_DIRECTORY spawning /usr/sbin/acme: File exists",
    ),
    Hint(
        "systemd-limits",
        r"status=(?:201/NICE|202/FDS|204/MEMORY|205/LIMITS|206/OOM_ADJUST|213/CPUAFFINITY|214/SETSCHEDULER|219/CGROUP|230/PERSONALITY|242/NUMA_POLICY)",
        "systemd can't set what the unit asks for its process (priority, limits, cores, NUMA nodes): the host (a container) does not let it, or has no such"
        " cores or nodes",
        "the word behind the number says which: correct it in the unit or its drop-ins (systemctl cat UNIT), lscpu shows cores and nodes",
        "systemd.exec, exit codes",
        "host systemd[1]: vllm-x.service: Main process exited, code=exited, status=213/CPUAFFINITY",
    ),
    Hint(
        "systemd-security",
        r"status=(?:224/PAM|229/SELINUX_CONTEXT|231/APPARMOR_PROFILE|236/SMACK_PROCESS_LABEL|235/CHOWN|243/CREDENTIALS)",
        "systemd can't give the unit's process an identity or label that the unit names (PAM session, SELinux context, AppArmor profile, owner, credentials)",
        "the journal's line before says what is refused: load the profile, put the credential's file there, or take the setting out of the unit"
        " (systemctl cat UNIT)",
        "systemd.exec, exit codes",
        "host systemd[1]: vllm-x.service: Main process exited, code=exited, status=243/CREDENTIALS",
    ),
    Hint(
        "systemd-log",
        r"status=(?:209/STDOUT|208/STDIN|222/STDERR)|Failed to set up standard output",
        "systemd can't open the unit's log file",
        "make its folder and give it to the unit's user; look at free space",
        "systemd.exec, exit codes",
        "host systemd[1]: vllm-x.service: Failed to set up standard output: No such file or directory",
    ),
    Hint(
        "systemd-oom",
        r"Failed with result 'oom-kill'|A process of this unit has been killed by the OOM killer|killed by systemd-oomd"
        r"|systemd-oomd\[\d{1,9}\]: Killed /"
        r"|status=9/KILL[^\n]{0,40}oom",
        "the kernel (or systemd-oomd) killed the service for lack of memory",
        "raise overhead_bytes or MemoryMax of the unit, lower kv_cache_memory_bytes, or run fewer services",
        "systemd.service",
        "host systemd[1]: vllm-x.service: A process of this unit has been killed by the OOM killer.",
    ),
    Hint(
        "systemd-timeout",
        r"(?:start|stop)(?:-\w{1,10})? operation timed out|Failed with result 'timeout'|Failed with result 'watchdog'|Watchdog timeout \(limit",
        "the service did not become ready (or end) in the time that systemd gives it, never tells systemd that it is ready (Type=notify), or is a"
        " mount whose server is away",
        "see how far its log came; for a stop raise drain_timeout of the row, for a start TimeoutStartSec of the unit; if it served meanwhile:"
        " Type=exec (or simple) in place of notify; watchdog: WatchdogSec",
        "systemd.service",
        "host systemd[1]: vllm-x.service: start operation timed out. Terminating.",
        late=True,
    ),
    Hint(
        "systemd-unit-unknown",
        r"Unit [\w@.-]{1,100} (?:not found|could not be found|is masked)"
        r"|Unit file [\w@.-]{1,100} does not exist|Failed to (?:start|enable|restart)[^\n]{0,60}[Uu]nit[^\n]{0,60}(?:not found"
        r"|masked)",
        "systemd knows no such unit, or it is masked",
        "a unit of a service: systemctl daemon-reload, then run deploy.yml again; systemctl unmask it if somebody masked it; another's: install the"
        " package that has it (nvidia-dcgm: datacenter-gpu-manager, nvidia-fabricmanager, nvidia-persistenced)",
        "systemctl",
        "Failed to start vllm-x.service: Unit vllm-x.service not found.",
    ),
    Hint(
        "systemd-bus",
        r"Failed to (?:connect to (?:user scope |system scope )?|create )bus|System has not been booted with systemd|Failed to get D-Bus connection"
        r"|(?<!call: )(?<!\.scope\": )(?<!\]\): )Interactive authentication required|^Failed to (?:re)?(?:start|load|stop"
        r"|enable) \S{1,80}: Access denied|\$DBUS_SESSION_BUS_ADDRESS and \$XDG_RUNTIME_DIR not defined",
        "systemctl can't speak to systemd: this host has none running (a container, WSL), or the user has no session or no right",
        "run as root (become: true); for user units loginctl enable-linger USER, then after su or sudo: export XDG_RUNTIME_DIR=/run/user/$(id -u)",
        "systemctl",
        "Failed to connect to bus: No medium found",
    ),
    Hint(
        "systemd-signal",
        r"code=(?:dumped|killed), status=\d{1,2}/(\w{3,6})",
        "systemd saw the unit's program end by a signal: SEGV and ABRT are crashes, ILL a build for another CPU, BUS memory, KILL most often lack"
        " of memory",
        "journalctl -u UNIT and dmesg show what it said last; reinstall or upgrade a program that crashes",
        "systemd.service",
        "host systemd[1]: x.service: Main process exited, code=dumped, status=11/SEGV",
        general=True,
    ),
    Hint(
        "systemd-too-quick",
        r"[Ss]tart request repeated too quickly|start-limit-hit",
        "the service ended so often that systemd starts it no more: the reason stands in the runs before",
        "journalctl -u UNIT -n 200 shows the first failure; then systemctl reset-failed and start",
        "systemd.unit",
        "host systemd[1]: vllm-x.service: Start request repeated too quickly.",
        general=True,
    ),
    Hint(
        "persistenced-no-driver",
        r"nvidia-persistenced[^\n]{0,100}(?:failed because|unmet condition|[Ff]ailed to (?:query|open|initialize)|result 'exit-code')",
        "NVIDIA's persistence daemon found no GPU to keep awake: the driver was not loaded when it started, or another persistence daemon runs",
        "nvidia-smi must work first (modprobe nvidia, dmesg); then systemctl restart nvidia-persistenced; journalctl -u nvidia-persistenced says more",
        "NVIDIA/nvidia-persistenced#2",
        "Job for nvidia-persistenced.service failed because the control process exited with error code.",
        sure=False,
    ),
    Hint(
        "systemd-job",
        r"Job for \S{1,100} failed because|^Failed to start [^\n]{1,100}\.$",
        "systemd started the unit, and its program ended with an error of its own",
        "journalctl -u UNIT -n 50 shows what it said; systemctl status UNIT the exit code",
        "systemctl",
        "Job for acme.service failed because the control process exited with error code.",
        general=True,
    ),
    Hint(
        "docker-subcommand",
        r"`docker daemon` is not supported",
        "the unit, or a file that adds to it, starts Docker as `docker daemon`, as releases before 17.06 did",
        "systemctl cat docker shows the file: name /usr/bin/dockerd in its ExecStart or remove it; then systemctl daemon-reload, systemctl restart"
        " docker",
        "docker/for-linux#11",
        "Jun 29 11:43:40 h1 docker[58]: `docker daemon` is not supported on Linux. Please run `dockerd` directly",
    ),
    Hint(
        "systemd-unit-text",
        r"has a bad unit file setting|: Bad unit file setting|Unknown (?:key(?: name)?|lvalue|section) '[^'\n]{1,60}' in section|Service has no ExecStart="
        r"|Executable (?:path is not absolute|\"[^\"\n]{1,120}\" not found in path)|Unit configuration has fatal error",
        "systemd can't read the unit as it stands, or a line of it means nothing to this systemd: it was edited by hand, or written for another"
        " release",
        "systemd-analyze verify UNIT names the line; for a service's own unit run deploy.yml again; remove drop-ins that are not needed (systemctl"
        " cat UNIT shows them)",
        "systemd",
        "Failed to start acme.service: Unit acme.service has a bad unit file setting.",
        sure=False,
    ),
    Hint(
        "systemd-crashed",
        r"Failed with result 'core-dump'",
        "the unit's program crashed in compiled code, and systemd saw it",
        "coredumpctl info UNIT and dmesg say in which library and by which signal; the program's last lines in journalctl -u UNIT; use an image as"
        " it was built, or another release",
        "systemd",
        "h systemd[1]: acme.service: Failed with result 'core-dump'.",
        sure=False,
        late=True,
    ),
    Hint(
        "systemd-resources",
        r"Failed with result 'resources'|Failed to run '\w{1,12}' task",
        "systemd could not set up what the unit asks for before its program began: a file of variables, a folder, a user, a cgroup, a limit, or"
        " memory for a process",
        "the line of that unit before it (journalctl -u UNIT -b) says which; then run deploy.yml again",
        "systemd",
        "h systemd[1]: acme.service: Failed with result 'resources'.",
        sure=False,
        late=True,
    ),
    Hint(
        "systemd-dependency",
        r"A dependency job for \S{1,80} failed|Dependency failed for (?!docker)|service: Dependency failed",
        "another unit that this one needs (a mount, a network, a socket, the container engine) did not start",
        "systemctl list-dependencies UNIT shows which is red; its own log (journalctl -u) says why: mend that one, then start this one again",
        "systemd",
        "A dependency job for acme.service failed. See journalctl -xe for details.",
        sure=False,
        late=True,
    ),
    Hint(
        "systemd-silent",
        r"Failed to (?:get properties|reload daemon|activate service|(?:re)?start \S{1,80}|list units): (?:Connection timed out"
        r"|Transport endpoint is not connected|Connection reset by peer)",
        "systemd (or D-Bus) does not answer: it hangs behind a mount or a process that can't end, the host is short of memory, or it failed",
        "systemctl daemon-reexec; look at dmesg and at processes in state D (ps axo stat,wchan:20,cmd); reboot where it stays silent",
        "systemd",
        "Failed to get properties: Connection timed out",
        sure=False,
    ),
    Hint(
        "systemd-environment-closed",
        r"Failed to load environment files: Permission denied",
        "systemd itself, which is root, may not read the unit's file of variables: SELinux or another security module refuses it, or it lies on a"
        " network file system that maps root away",
        "restorecon -Rv on that file and its folder (systemctl cat UNIT shows it), ausearch -m avc -ts recent shows the refusal; keep it below /etc"
        " or /srv on a local disk",
        "systemd",
        "h systemd[1]: acme.service: Failed to load environment files: Permission denied",
        sure=False,
    ),
    Hint(
        "systemd-stop-slow",
        r"State 'stop-\w{1,20}' timed out|[Ss]topping timed out",
        "the service did not end in the time that it has for it, and systemd killed it",
        "it may have had requests to finish or hang in the driver: raise TimeoutStopSec; if nvidia-smi hangs too, see dmesg for Xid lines",
        "systemd, systemd.service(5)",
        "systemd[1]: acme.service: State 'stop-sigterm' timed out. Killing.",
        sure=False,
        late=True,
    ),
    Hint(
        "systemd-device-missing",
        r"Timed out waiting for device",
        "a disk or device that a mount or unit names did not come: its UUID changed, it failed, or it is not attached",
        "lsblk -f shows what there is: correct /etc/fstab (nofail where the host is to start without it), then systemctl daemon-reload",
        "systemd, systemd.device(5)",
        "systemd[1]: Timed out waiting for device /dev/disk/by-uuid/ab.",
    ),
    Hint(
        "systemd-mount-failed",
        r"[Mm]ount process exited, code=exited",
        "a file system could not be mounted; mount's own words stand in the lines before",
        "journalctl -u NAME.mount -b; mount it by hand to see the reason (server down, wrong path or option, program such as mount.nfs missing)",
        "systemd, systemd.mount(5)",
        "systemd[1]: srv-models.mount: Mount process exited, code=exited, status=32/n/a",
        late=True,
    ),
    Hint(
        "systemd-job-canceled",
        r"^Job for \S{1,80} cancell?ed\.",
        "another order for the same unit came before this one had ended (a stop, a restart, a shutdown)",
        "systemctl list-jobs; wait for the other one, then start it again; look for a second deploy or a timer that acts on the same unit",
        "systemd",
        "Job for acme.service canceled.",
    ),
    Hint(
        "systemd-run-full",
        r"not enough space available on /run/systemd",
        "/run, which is kept in memory, is full",
        "df -h /run and du -xsh /run/* show what fills it (journals, containers' leftovers): remove it, or mount -o remount,size=2G /run",
        "systemd, v252 and later",
        "Failed to reload daemon: Refusing to reload, not enough space available on /run/systemd.",
    ),
    Hint(
        "clock-wrong",
        r"System clock wrong by \d|Timed out waiting for reply from \S{1,60}:123\b",
        "the host's clock is not set by a time server: it can't be reached (port 123, UDP), or the clock was far off",
        "timedatectl; name a server that this host reaches (chrony, systemd-timesyncd): certificates and tokens fail where the clock is wrong",
        "chrony; systemd-timesyncd",
        "chronyd[500]: System clock wrong by 3600.0 seconds",
        sure=False,
        passing=True,
    ),
)
