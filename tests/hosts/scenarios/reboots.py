"""Hosts are rebooted, one after the other, as for a new kernel."""

import time

from leashhosts import Fault
from traffic import Traffic


def boot_again(site, host):
    host.reboot()
    site.net.boot(host)


def reboot_each(lab):
    """`systemctl reboot` on e1, S2, S1, P1: no client notices more than a pause"""
    site = lab.site()
    traffic = Traffic(site)
    for name in ("e1", "S2", "S1", "P1"):
        host = site.by_name[name]
        kind = "etcd's host" if name == "e1" else "the primary's host" if host is site.wait_primary() else "a secondary's host"
        with Fault(site, traffic, "reboot of " + kind) as f:
            f.now()
            boot_again(site, host)
        site.wait_in_sync()
    primary = site.wait_primary()
    with Fault(site, traffic, "reboot of the primary's host") as f:
        f.now()
        boot_again(site, primary)
    traffic.unbroken()
    site.settle(traffic)


def reboot_gateway(lab):
    """The gateway's host reboots, and once more loses its power: clients come back and send again with their ids"""
    site = lab.site()
    traffic = Traffic(site, writers=0)
    gateway = site.gateways[0]
    for what, end in (("reboot of", gateway.reboot), ("power off at", gateway.die)):
        lives = [c.reconnects for c in traffic.clients]
        began = time.monotonic()
        end()
        site.net.boot(gateway)
        traffic.moving(1)
        lab.figure(what + " the only gateway's host", "all clients are answered again %.1f s after" % (time.monotonic() - began))
        assert all(c.reconnects > n for c, n in zip(traffic.clients, lives)), "every client had to come back"
    site.settle(traffic)


def two_gateways(lab):
    """Two gateway hosts, one reboots, one loses its power: clients go on at the other, and find back"""
    site = lab.site(gateways=2)
    traffic = Traffic(site, producers=4, writers=0)
    first, second = site.gateways
    # All clients begin at the first; so each of these hits all of them.
    for what, gateway, end in (("reboot of", first, first.reboot), ("power off at", second, second.die),
                               ("power off at", first, first.die)):
        lives = [c.reconnects for c in traffic.clients]
        began = time.monotonic()
        end()
        traffic.moving(1)
        lab.figure(what + " one of two gateways' hosts", "all clients are answered again %.1f s after" % (
            time.monotonic() - began))
        assert all(c.reconnects > n for c, n in zip(traffic.clients, lives)), "every client had to go elsewhere"
        site.net.boot(gateway)
    victim = site.wait_primary()
    with Fault(site, traffic, "kill -9 of the primary, two gateways") as f:
        f.now()
        victim.signal(site.unit(victim), "KILL")
        site.wait_primary(but=victim)
    site.settle(traffic)


def power_failure(lab):
    """All hosts lose their power at once, and boot"""
    site = lab.site()
    traffic = Traffic(site, writers=0)
    for h in site.hosts:
        h.die()
    site.net.boot(*site.hosts)
    lab.figure("answers after a power failure, once all are up", "%.1f s" % traffic.moving(1))
    site.settle(traffic)


SCENARIOS = [reboot_each, reboot_gateway, power_failure]
SCENARIOS_TWO_GATEWAYS = [two_gateways]
FEW = []
