"""Networks that part the primary from others."""

from leashhosts import ETCD_PORTS, NODE_PORT, Fault
from leashtest import wait_for
from traffic import Traffic


def cut(lab, name, do, another_leads=True, until=None):
    """Cuts, waits until all go on (and until(site, primary)), heals, and checks. do(site, primary)."""
    site = lab.site()
    traffic = Traffic(site)
    victim = site.wait_primary()
    epoch = site.leader()["epoch"]
    with Fault(site, traffic, name) as f:
        f.now()
        do(site, victim)
        if another_leads:
            site.wait_primary(but=victim)
    if until:
        wait_for(lambda: until(site, victim), "the cut has lasted long enough", 60)
        traffic.moving()
    site.net.heal()
    site.wait_in_sync()
    if not another_leads:
        assert site.leader()["epoch"] == epoch, "the primary had no reason to go"
    traffic.unbroken()
    site.settle(traffic)


def forgotten(site, host):
    """The lease of its process has run out: etcd does not know the node any more."""
    return site.etcd.get("engine/nodes/" + host.name) is None


def cut_from_all(lab):
    """The primary's cable is pulled, for longer than its lease lives"""
    cut(lab, "primary cut off from all", lambda site, p: p.link(False), until=forgotten)


def cut_from_peers(lab):
    """The primary cannot reach the secondaries; etcd, gateway and clients can be reached"""
    cut(lab, "primary cut off from its peers",
        lambda site, p: site.net.cut(p, site.others(p), ports=(NODE_PORT,)))


def cut_from_etcd(lab):
    """The primary reaches no member of etcd but perhaps its own; with its peers it goes on, whoever leads in the end"""
    site = lab.site()
    traffic = Traffic(site)
    victim = site.wait_primary()
    with Fault(site, traffic, "primary cut off from etcd") as f:
        f.now()
        site.net.cut(victim, site.etcd_hosts, ports=ETCD_PORTS)
        lease = site.etcd.leader_lease()
        wait_for(lambda: site.etcd.leader_lease() != lease, "its lease ends", 60)
        traffic.moving()
    site.net.heal()
    wait_for(site.leader, "there is a leader key", 60)
    traffic.unbroken()
    site.settle(traffic)


def deaf_primary(lab):
    """One way: the primary hears nobody on the network, but is heard"""
    cut(lab, "deaf primary", lambda site, p: site.net.cut(site.hosts, p, one_way=True), until=forgotten)


def mute_primary(lab):
    """One way: the primary hears all, but nobody hears it"""
    cut(lab, "mute primary", lambda site, p: site.net.cut(p, site.hosts, one_way=True))


def deaf_to_peers(lab):
    """One way, nodes only: the primary sends records and hears no acknowledgement"""
    cut(lab, "primary deaf to its peers",
        lambda site, p: site.net.cut(site.others(p), p, ports=(NODE_PORT,), one_way=True))


def secondary_cut_off(lab):
    """A secondary's cable is pulled: it is taken out of the set, the primary stays"""
    cut(lab, "secondary cut off", lambda site, p: site.others(p)[0].link(False), another_leads=False,
        until=lambda site, p: len(site.etcd.insync()) == 2)


def gateway_cut_from_etcd(lab):
    """The gateway reaches no etcd, and the primary is killed: nodes tell it who leads"""
    site = lab.site()
    traffic = Traffic(site)
    victim = site.wait_primary()
    site.net.cut(site.gateways[0], site.etcd_hosts, ports=ETCD_PORTS)
    with Fault(site, traffic, "kill -9, gateway without etcd") as f:
        f.now()
        victim.signal(site.unit(victim), "KILL")
        site.wait_primary(but=victim)
    site.net.heal()
    traffic.unbroken()
    site.settle(traffic)


SCENARIOS = [cut_from_all, cut_from_peers, cut_from_etcd, deaf_primary, mute_primary, deaf_to_peers, secondary_cut_off,
             gateway_cut_from_etcd]
FEW = [cut_from_peers]
