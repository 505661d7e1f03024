"""Who is told of which alert: rules with a site's changes, and Alertmanager's configuration. Pure: tables in, documents out."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from planning.rows import Faults, Row, nearest, plain

SEVERITIES = ("page", "ticket")
CHANGEABLE = ("expr", "for", "labels", "annotations")


def alert_rules(rules: Mapping[str, Any], changes: Any, runbooks: str = "") -> Row:
    """The rule file with a site's changes: {alert: {for: 30m}} changes keys, {alert: null} leaves the alert out. Raises Faults.

    `runbooks`: where the product's pages can be read, such as a URL of its repository; then each alert has `runbook_url`.
    """
    found: Row = copy.deepcopy(dict(rules))
    known = [rule["alert"] for group in found["groups"] for rule in group["rules"]]
    given = changes or {}
    if not isinstance(given, Mapping):
        raise Faults(
            [f"monitoring_alerts is {given!r}, but must be {{ALERT: {{for: 30m}}}}, or {{ALERT: null}} to leave it out"]
        )
    faults = [
        f"monitoring_alerts names '{name}', which is no alert; {nearest(name, known)}"
        for name in given
        if name not in known
    ]
    for name, row in given.items():
        if row is not None and not isinstance(row, Mapping):
            faults.append(
                f"monitoring_alerts: {name} is {row!r}, but must be {{for: 30m}} or the like, or null to leave it out"
            )
        faults += [
            f"monitoring_alerts: {name} has the unknown key '{key}'; {nearest(key, CHANGEABLE)}"
            for key in (row if isinstance(row, Mapping) else ())
            if key not in CHANGEABLE
        ]
    if faults:
        raise Faults(faults)
    for group in found["groups"]:
        group["rules"] = [
            changed(rule, given.get(rule["alert"]), runbooks)
            for rule in group["rules"]
            if given.get(rule["alert"], rule) is not None
        ]
    return found


def changed(rule: Row, change: Mapping[str, Any] | None, runbooks: str) -> Row:
    """One rule with a site's change; its labels and annotations are merged."""
    new = {**rule, **(change or {})}
    for key in ("labels", "annotations"):
        new[key] = {**rule.get(key, {}), **((change or {}).get(key) or {})}
    if runbooks:
        new["annotations"]["runbook_url"] = runbooks.rstrip("/") + "/" + new["annotations"]["runbook"]
    return new


def alertmanager_config(receivers: Any, times: Mapping[str, str]) -> Row:
    """Alertmanager's configuration. `receivers`: {page: {webhook_configs: [...]}, ticket: ...} in Alertmanager's own words. Raises Faults.

    With one receiver alone, it gets both severities. No value of a receiver is ever in a fault: most are secrets.
    """
    faults = receiver_faults(receivers)
    if faults:
        raise Faults(faults)
    names = [name for name in SEVERITIES if name in receivers]
    return {
        "route": {
            "receiver": names[-1],
            "group_by": ["alertname", "model", "host", "gateway"],
            **times,
            "routes": [{"receiver": name, "matchers": [f'severity="{name}"']} for name in names[:-1]],
        },
        # What follows from a larger fault is not told besides.
        "inhibit_rules": [
            inhibit("HostDown", "HostDiskFull|GpuFault|NpuUnhealthy|VllmServiceDown", "host"),
            inhibit("VllmModelDown", "VllmServiceDown", "model"),
        ],
        "receivers": [{"name": name, **plain(receivers[name])} for name in names],
    }


def inhibit(source: str, target: str, label: str) -> Row:
    return {
        "source_matchers": [f'alertname="{source}"'],
        "target_matchers": [f'alertname=~"{target}"'],
        "equal": [label],
    }


def receiver_faults(receivers: Any) -> list[str]:
    """What is wrong with the shape; what is in a receiver is Alertmanager's to judge."""
    form = "such as {page: {pagerduty_configs: [...]}, ticket: {email_configs: [...]}}"
    if not isinstance(receivers, Mapping) or not receivers:
        return [f"monitoring_receivers must be a table, {form}"]
    faults = []
    for name, row in receivers.items():
        if name not in SEVERITIES:
            faults.append(f"monitoring_receivers names '{name}', which is no severity; {nearest(name, SEVERITIES)}")
        elif not isinstance(row, Mapping) or not row:
            faults.append(f"monitoring_receivers: {name} must be a receiver as Alertmanager writes it, {form}")
        else:
            faults += [
                f"monitoring_receivers: {name} has '{key}', but must have lists whose names end in _configs, {form}"
                for key, value in row.items()
                if not str(key).endswith("_configs") or not isinstance(value, list) or not value
            ]
    return faults
