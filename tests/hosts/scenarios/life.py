"""The services as an administrator starts, stops, restarts, reloads and watches them."""

import re

from leashhosts import Fault
from leashtest import Client, wait_for
from scenarios.fresh import explained
from traffic import Traffic


def install_and_start(lab):
    """Installed by apt on each host, configured by files, started by systemctl: all hosts are well, and say so"""
    site = lab.site()
    traffic = Traffic(site)
    primary = site.wait_primary()
    for h in site.hosts:
        failed = h.run("systemctl", "--no-pager", "--failed", "--no-legend")
        assert not re.search(r"leash|etcd", failed), "%s: %s" % (h.name, failed)
    status = primary.run("systemctl", "status", "--no-pager", site.unit(primary))
    assert re.search(r'Status: "primary, epoch \d+, in sync: ', status), status
    for h in site.others(primary):
        status = h.run("systemctl", "status", "--no-pager", site.unit(h))
        assert re.search(r'Status: "secondary, epoch \d+, primary %s' % primary.name, status), status
    for h in site.gateways:
        explained(h, "leash-gatewayd", "primary of 'engine' is now '%s'" % primary.name)
    traffic.unbroken()
    site.settle(traffic)


def quiet(lab):
    """In good weather nobody writes to the journal, whatever the traffic"""
    site = lab.site()
    traffic = Traffic(site)
    units = [(h, site.unit(h)) for h in site.nodes] + [(h, "leash-gatewayd.service") for h in site.gateways]
    before = [len(h.events(u)) for h, u in units]
    traffic.moving(200)
    site.settle(traffic)
    for (h, u), n in zip(units, before):
        said = [e["MESSAGE"] for e in h.events(u)[n:]]
        assert not said, "%s: %r" % (h.name, said)


def stop_hands_over(lab):
    """systemctl stop of the primary hands over; nobody sees an error"""
    site = lab.site()
    traffic = Traffic(site)
    for _ in range(3):
        victim = site.wait_primary()
        with Fault(site, traffic, "systemctl stop of the primary") as f:
            f.now()
            victim.run("systemctl", "stop", site.unit(victim))
            site.wait_primary(but=victim)
        assert victim.show(site.unit(victim), "Result") == "success"
        victim.run("systemctl", "start", site.unit(victim))
        site.wait_in_sync()
    traffic.unbroken()
    site.settle(traffic)


def restart_nodes(lab):
    """systemctl restart of each node, one after the other"""
    site = lab.site()
    traffic = Traffic(site)
    for h in site.nodes:
        with Fault(site, traffic, "systemctl restart of a node") as f:
            f.now()
            h.run("systemctl", "restart", site.unit(h))
        site.wait_in_sync()
    traffic.unbroken()
    site.settle(traffic)


def reload_nodes(lab):
    """systemctl reload takes over what can change; a file with an error changes nothing, and reload says so"""
    site = lab.site()
    traffic = Traffic(site)
    host = site.wait_primary()
    unit, path = site.unit(host), "/etc/leash/leash-noded@%s.conf" % host.name
    good, pid = host.read(path), host.main_pid(unit)
    host.write(path, good + "log_level = debug\n")
    host.run("systemctl", "reload", unit)
    host.write(path, good + "no_such_key = 1\n")
    assert not host.succeeds("systemctl", "reload", unit), "reload fails when the file is wrong"
    assert "no_such_key" in host.journal(unit, "--since=-60s")
    host.write(path, good)
    host.run("systemctl", "reload", unit)
    assert host.main_pid(unit) == pid
    traffic.unbroken()
    site.settle(traffic)


def wrong_configuration(lab):
    """A wrong file: the unit fails with 78, is not started again and again, and the journal says what is wrong"""
    site = lab.site()
    traffic = Traffic(site)
    host = site.others(site.wait_primary())[0]
    unit, path = site.unit(host), "/etc/leash/leash-noded@%s.conf" % host.name
    good = host.read(path)
    host.write(path, good + "lease_ttl = 1ms\n")
    host.run("systemctl", "restart", unit, check=False)
    wait_for(lambda: host.show(unit, "ActiveState") == "failed", "%s fails" % unit, 30)
    assert host.show(unit, "ExecMainStatus") == "78"
    assert "lease_ttl" in host.journal(unit, "--since=-60s")
    host.write(path, good)
    host.run("systemctl", "reset-failed", unit)
    host.run("systemctl", "start", unit)
    traffic.unbroken()
    site.settle(traffic)


def restart_gateway(lab):
    """systemctl restart leash-gatewayd under load: open connections live on, none is refused, nobody sees an error"""
    site = lab.site()
    traffic = Traffic(site)
    gateway = site.gateways[0]
    pid = gateway.main_pid("leash-gatewayd.service")
    for _ in range(3):
        with Fault(site, traffic, "systemctl restart leash-gatewayd") as f:
            f.now()
            with gateway.popen("systemctl", "restart", "leash-gatewayd.service") as restarting:
                while restarting.poll() is None:
                    with Client(gateway.address, site.gateway_port) as c:  # refused: this raises
                        assert c.call("PING") == "PONG"
                assert restarting.returncode == 0
    assert gateway.main_pid("leash-gatewayd.service") != pid
    traffic.unbroken()
    site.settle(traffic)


def crash_gateway(lab):
    """kill -9 of the gateway: the socket stays, connections wait, and clients come back with their ids"""
    site = lab.site()
    traffic = Traffic(site, writers=0)
    gateway = site.gateways[0]
    gateway.signal("leash-gatewayd.service", "KILL")
    with Client(gateway.address, site.gateway_port) as c:
        assert c.call("PING") == "PONG"
    lab.figure("kill -9 of the gateway", "answers after %.1f s" % traffic.moving(1))
    site.settle(traffic)


SCENARIOS = [install_and_start, quiet, stop_hands_over, restart_nodes, reload_nodes, wrong_configuration, crash_gateway,
             restart_gateway]
FEW = [install_and_start, stop_hands_over]
