"""Processes and hosts die, and processes stop without dying."""

import re
import time

from leashhosts import LEASE_TTL_S, Fault
from leashtest import wait_for
from traffic import Traffic


def wait_revoked(host, lease):
    """etcdctl, on a host that has a member, says that the lease is not there any more, and long before it would have expired:
    when its owner died, at most a third of its life was over."""
    wait_for(lambda: "already expired" in host.run("etcdctl", "lease", "timetolive", lease, check=False),
             "the lease is revoked", LEASE_TTL_S / 2)


def kill_primary(lab):
    """kill -9 of the primary's daemon: its lease is revoked at once, another leads, it comes back and follows"""
    site = lab.site()
    traffic = Traffic(site)
    e1 = site.by_name["e1"]
    for _ in range(3):
        victim = site.wait_primary()
        lease, epoch = site.etcd.leader_lease(), site.leader()["epoch"]
        pid = victim.main_pid(site.unit(victim))
        with Fault(site, traffic, "kill -9 of the primary") as f:
            f.now()
            victim.run("systemctl", "kill", "-s", "KILL", site.unit(victim))
            wait_revoked(e1, lease)
            revoked_s = f.seconds()
            site.wait_primary(but=victim)
        lab.figure("kill -9: the lease is gone, by etcdctl", "%.1f s after (it lives %d s)" % (revoked_s, LEASE_TTL_S))
        assert site.leader()["epoch"] > epoch
        wait_for(lambda: victim.main_pid(site.unit(victim)) not in (0, pid), "systemd starts it again", 30)
        site.wait_in_sync()
    traffic.unbroken()
    site.settle(traffic)


def revoked_by_systemd(lab):
    """kill -9 of a primary whose peers are away: only ExecStopPost= can revoke the lease, and does"""
    site = lab.site()
    e1, victim = site.by_name["e1"], site.wait_primary()
    for h in site.others(victim):
        h.run("systemctl", "kill", "-s", "KILL", "--kill-whom=all", site.unit(h))
        h.run("systemctl", "stop", site.unit(h))
    lease = site.etcd.leader_lease()
    if lease is None:
        raise AssertionError("the last node does not lead")
    began = time.monotonic()
    victim.run("systemctl", "kill", "-s", "KILL", site.unit(victim))
    wait_revoked(e1, lease)
    lab.figure("ExecStopPost= alone: the lease is gone", "%.1f s after kill -9" % (time.monotonic() - began))
    for h in site.others(victim):
        h.run("systemctl", "start", site.unit(h))
    site.settle(Traffic(site))


def kill_secondary(lab):
    """kill -9 of a secondary's daemon, twice"""
    site = lab.site()
    traffic = Traffic(site)
    primary = site.wait_primary()
    epoch = site.leader()["epoch"]
    for victim in site.others(primary):
        pid = victim.main_pid(site.unit(victim))
        with Fault(site, traffic, "kill -9 of a secondary") as f:
            f.now()
            victim.signal(site.unit(victim), "KILL")
            wait_for(lambda: victim.main_pid(site.unit(victim)) not in (0, pid), "systemd starts it again", 30)
        site.wait_in_sync()
    assert site.leader()["epoch"] == epoch, "the primary stays"
    traffic.unbroken()
    site.settle(traffic)


def primary_host_dies(site, traffic):
    victim = site.wait_primary()
    with Fault(site, traffic, "power off at the primary's host") as f:
        f.now()
        victim.die()
        site.wait_primary(but=victim)
    site.net.boot(victim)
    site.wait_in_sync()


def host_death(lab):
    """The primary's host loses its power, and comes back"""
    site = lab.site()
    traffic = Traffic(site)
    primary_host_dies(site, traffic)
    traffic.unbroken()
    site.settle(traffic)


def host_deaths(lab):
    """Host after host loses its power: three times the primary's, a secondary's, etcd's; some take a member of etcd along"""
    site = lab.site()
    traffic = Traffic(site)
    for _ in range(3):
        primary_host_dies(site, traffic)
    victim = site.others(site.wait_primary())[0]
    with Fault(site, traffic, "power off at a secondary's host") as f:
        f.now()
        victim.die()
    site.net.boot(victim)
    site.wait_in_sync()
    e1 = site.by_name["e1"]
    with Fault(site, traffic, "power off at etcd's host") as f:
        f.now()
        e1.die()
    site.net.boot(e1)
    traffic.unbroken()
    site.settle(traffic)


def watchdog_seconds(host, unit):
    """WatchdogSec= of a unit."""
    text = host.show(unit, "WatchdogUSec")
    units = {"min": 60, "s": 1, "ms": 0.001}
    parts = re.findall(r"([\d.]+)(min|ms|s)\b", text)
    assert parts, "%s has no watchdog: %r" % (unit, text)
    return sum(float(n) * units[u] for n, u in parts)


def stop_until_watchdog(lab, host, unit, kind):
    """SIGSTOP; returns when systemd has started the unit again."""
    pid, allowed = host.main_pid(unit), watchdog_seconds(host, unit)
    began = time.monotonic()
    host.signal(unit, "STOP")
    wait_for(lambda: host.main_pid(unit) not in (0, pid), "the watchdog starts %s again" % unit, allowed + 30)
    lab.figure("SIGSTOP of %s, started again" % kind, "%.1f s after (WatchdogSec %g s)" % (time.monotonic() - began, allowed))
    site_wait = [e for e in host.events(unit, "--since=-60s") if "watchdog" in str(e.get("MESSAGE", "")).lower()]
    assert site_wait, "the journal of %s does not tell of the watchdog" % unit


def watchdog_primary(lab):
    """SIGSTOP of the primary: another leads, and the watchdog restarts it"""
    site = lab.site()
    traffic = Traffic(site)
    victim = site.wait_primary()
    with Fault(site, traffic, "SIGSTOP of the primary") as f:
        f.now()
        stop_until_watchdog(lab, victim, site.unit(victim), "the primary")
        site.wait_primary(but=victim)
    traffic.unbroken()
    site.settle(traffic)


def watchdog_secondary(lab):
    """SIGSTOP of a secondary: the primary stays, and the watchdog restarts it"""
    site = lab.site()
    traffic = Traffic(site)
    victim = site.others(site.wait_primary())[0]
    with Fault(site, traffic, "SIGSTOP of a secondary") as f:
        f.now()
        stop_until_watchdog(lab, victim, site.unit(victim), "a secondary")
    traffic.unbroken()
    site.settle(traffic)


def watchdog_gateway(lab):
    """SIGSTOP of the gateway: the watchdog restarts it, and clients come back with their ids"""
    site = lab.site()
    traffic = Traffic(site, writers=0)
    stop_until_watchdog(lab, site.gateways[0], "leash-gatewayd.service", "the gateway")
    traffic.moving()
    site.settle(traffic)


SCENARIOS = [kill_primary, revoked_by_systemd, kill_secondary, host_death, host_deaths, watchdog_primary, watchdog_secondary,
             watchdog_gateway]
FEW = [kill_primary, host_death, watchdog_primary]
