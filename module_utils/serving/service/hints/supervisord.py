"""Failure hints: what supervisord says of itself and of the programs that it runs, where systemd is not PID 1."""

from __future__ import annotations

from ansible.module_utils.serving.service.hints.hint import Hint

HINTS = (
    Hint(
        "supervisord-folder",
        r"supervisor: couldn't (?:chdir to|setuid to|exec) ",
        "supervisord could not start the program: it may not enter the folder, become the user or run the command that this program's section names,"
        " or there is none",
        "the line ends in the system's reason (ENOENT: not there, EACCES: not allowed): correct `directory`, `user` or `command`, then supervisorctl"
        " update",
        "Supervisor/supervisor#788",
        "supervisor: couldn't chdir to /srv/acme: ENOENT",
        sure=False,
    ),
    Hint(
        "supervisord-gave-up",
        r"gave up: \S{1,80} entered FATAL state|\bFATAL +Exited too quickly|\bBACKOFF +Exited too quickly|ERROR \(abnormal termination\)"
        r"|ERROR \(spawn error\)",
        "supervisord could not get the program to run for startsecs: it ended at once each time, or can't be started at all",
        "look at the program's log (supervisorctl tail NAME stderr; here logs/), and at the exit status or spawnerr that supervisord.log tells",
        "Supervisor/supervisor#798",
        "2026-11-20 10:11:12,993 INFO gave up: vllm-acme entered FATAL state, too many start retries too quickly",
        passing=True,
    ),
    Hint(
        "supervisord-command",
        r"can't find command '|command at '[^'\n]{1,300}' is not executable",
        "supervisord finds no such program, or may not execute it: it looks along its own PATH, not the user's",
        "give the program's whole path in `command`, chmod +x it, and reread (supervisorctl update)",
        "Supervisor/supervisor, options.py",
        "2026-11-20 10:11:12,008 INFO spawnerr: can't find command '/srv/acme/start'",
        passing=True,
    ),
    Hint(
        "supervisord-twice",
        r"Another program is already listening on a port that one of our HTTP servers is configured to use",
        "supervisord finds its own socket or port taken: another supervisord of the same configuration runs, or one that was killed left its socket",
        "supervisorctl shutdown the one that runs (pgrep -a supervisord); if none does remove the socket file that the configuration names",
        "Supervisor/supervisor#613",
        "Error: Another program is already listening on a port that one of our HTTP servers is configured to use.  Shut this program down first",
    ),
    Hint(
        "supervisord-not-there",
        r"unix://\S{1,200}\.sock (?:no such file|refused connection)|https?://\S{1,100}:\d{1,5} refused connection \(already shut down",
        "supervisorctl reaches no supervisord: it does not run, or listens on another socket than the configuration that was read names",
        "start supervisord, or give supervisorctl the same configuration (-c); where systemd does not run nothing starts it after a reboot",
        "Supervisor/supervisor, supervisorctl",
        "unix:///srv/acme/supervisor.sock no such file",
    ),
    Hint(
        "supervisord-config",
        r"\.ini file does not include supervisord section|The directory named as part of the path \S{1,200} does not exist"
        r"|Unexpected end of key/value pairs|Format string '[^\n]{1,300}' for '\S{1,80}' (?:contains|is badly)",
        "supervisord refuses its configuration: a section or a folder that it names is missing, or a value is not in its format",
        "correct the key that the message names; make the folder; a % in a value is written %%",
        "Supervisor/supervisor, options.py",
        "Error: .ini file does not include supervisord section",
    ),
)
