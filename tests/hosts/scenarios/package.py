"""The package is upgraded on running hosts, and removed from one and installed again."""

import json

from leashhosts import Fault, install
from leashtest import wait_for
from traffic import Traffic


def version_of(deb_host):
    return deb_host.run("dpkg-query", "-W", "-f", "${Version}", "leash")


def upgrade(lab):
    """apt install of a higher version on each host, and leash rolling-restart there: no client notices more than a pause"""
    site = lab.site()
    before = version_of(site.nodes[0])
    newer = lab.packages.newer()
    traffic = Traffic(site)
    for host in site.nodes:
        unit = site.unit(host)
        pid = host.main_pid(unit)
        with Fault(site, traffic, "upgrade of a node's host") as f:
            f.now()
            install(host, newer)
            assert host.main_pid(unit) == pid, "the package restarts no node"
            host.run("leash", "rolling-restart")
        assert host.main_pid(unit) != pid
        assert version_of(host) > before
        site.wait_in_sync()
    for gateway in site.gateways:
        pid = gateway.main_pid("leash-gatewayd.service")
        with Fault(site, traffic, "upgrade of the gateway's host") as f:
            f.now()
            install(gateway, newer)
        assert gateway.main_pid("leash-gatewayd.service") != pid, "the package restarts the gateway"
    for node in site.nodes:
        release = json.loads(site.etcd.get("engine/nodes/" + node.name))["release"]
        assert release == version_of(node), "%s runs %s" % (node.name, release)
    traffic.unbroken()
    site.settle(traffic)
    lab.drop_site()  # it has another version


def remove_from_one(lab):
    """apt remove on a node's host hands over and stops; installed again it has its log and follows; likewise purge"""
    site = lab.site()
    traffic = Traffic(site)
    for how in ("remove", "purge"):
        host = site.wait_primary()
        path = "/etc/leash/leash-noded@%s.conf" % host.name
        conf = host.read(path)
        with Fault(site, traffic, "apt-get %s on the primary's host" % how) as f:
            f.now()
            host.run("apt-get", "--yes", how, "leash", timeout=180)
            site.wait_primary(but=host)
        assert not host.succeeds("systemctl", "is-active", site.unit(host))
        assert host.run("ls", "/var/lib/leash/" + host.name), "the log stays"
        install(host, lab.deb)
        host.write(path, conf)
        host.run("systemctl", "enable", "--now", site.unit(host))
        wait_for(lambda: host.main_pid(site.unit(host)), "it runs", 30)
        site.wait_in_sync()
    traffic.unbroken()
    site.settle(traffic)


SCENARIOS = [remove_from_one, upgrade]
FEW = []
