"""One fresh host, nothing edited: what the first page of the manual promises."""

import re

from leashhosts import install
from leashtest import wait_for

NODES = ("P1", "S1", "S2")
UNITS = [*("leash-noded@%s.service" % n for n in NODES), "leash-gatewayd.service"]


def cli(host, *args, check=True):
    return host.run("redis-cli", "-p", "8080", *args, check=check).strip()


def start(lab, net):
    """The two commands."""
    host = net.host(lab.image, "fresh")
    net.boot(host)
    install(host, lab.deb, "etcd-server", recommends=True)
    host.run("systemctl", "start", "leash-noded@P1", "leash-noded@S1", "leash-noded@S2", "leash-gatewayd")
    host.run("apt-get", "--yes", "--no-install-recommends", "install", "redis-tools", "etcd-client", "man-db")
    return host


def one_host(lab):
    """apt install, systemctl start, redis-cli XADD: answered, without an edit; and everything tells what it does"""
    with lab.bare("one_host") as net:
        host = start(lab, net)
        assert cli(host, "XADD", "engine", "*", "f", "v") == "1-0"
        everything_tells(host)
        assert cli(host, "XADD", "engine", "*", "f", "w") == "2-0"
        kill(host)
        assert cli(host, "XLEN", "engine") == "3"


def everything_tells(host):
    leader = re.search(r'"node":"(\w+)"', host.run("etcdctl", "get", "engine/leader")).group(1)
    status = host.run("systemctl", "status", "--no-pager", "leash-noded@" + leader)
    assert re.search(r'Status: "primary, epoch 1, in sync: ', status), status
    status = host.run("systemctl", "status", "--no-pager", "leash-gatewayd")
    assert 'Status: "1 of 1 engines have a primary' in status, status
    explained(host, "leash-gatewayd", "primary of 'engine' is now '%s' \\(epoch 1\\)" % leader)
    explained(host, "leash-noded@" + leader, "primary")
    assert "primary" in host.run("leash", "status")
    for unit in UNITS:
        loud = host.run("journalctl", "--no-pager", "-q", "-u", unit, "-p", "err")
        assert not loud.strip(), "errors on a fresh host: " + loud


def explained(host, unit, pattern):
    """journalctl -x has such a line, and an explanation right below."""
    told = host.run("journalctl", "--no-pager", "-u", unit, "-x")
    assert re.search(r"leash-\w+\[\d+\]: .*%s.*\n\W*Subject: " % pattern, told), told


def kill(host):
    """systemctl kill -s KILL of the primary: the next answer comes from another."""
    leader = re.search(r'"node":"(\w+)"', host.run("etcdctl", "get", "engine/leader")).group(1)
    host.run("systemctl", "kill", "-s", "KILL", "leash-noded@" + leader)
    assert cli(host, "XADD", "engine", "*", "f", "x") == "3-0"
    told = host.run("journalctl", "--no-pager", "-u", "leash-gatewayd", "-x")
    assert re.search(r"primary of 'engine' is now '\w+' \(epoch [2-9]\)", told), told


def hardening(lab):
    """systemd-analyze: exposure at most 1.3 for each service, and no word about the units"""
    with lab.bare("hardening") as net:
        host = start(lab, net)
        for unit in ("leash-noded@P1.service", "leash-gatewayd.service"):
            text = host.run("systemd-analyze", "--no-pager", "security", unit)
            exposure = float(re.search(r"Overall exposure level for \S+: ([\d.]+)", text).group(1))
            lab.figure("exposure of " + unit, exposure)
            assert exposure <= 1.3, text
        files = host.sh("ls -d /lib/systemd/system/leash*").split()
        said = host.run("systemd-analyze", "verify", *(f.replace("@.", "@P1.") for f in files))
        assert "leash" not in said, said


def remove_purge_reinstall(lab):
    """remove, reinstall, purge, reinstall: clean each time, and no log is lost without being asked for"""
    with lab.bare("remove") as net:
        host = start(lab, net)
        assert cli(host, "XADD", "engine", "*", "f", "v") == "1-0"
        host.run("apt-get", "--yes", "remove", "leash", timeout=180)
        gone(host)
        assert host.run("ls", "/etc/leash").split(), "configuration files stay"
        install(host, lab.deb)
        back(host, 1)
        host.run("apt-get", "--yes", "purge", "leash", timeout=180)
        gone(host)
        assert "leash" not in host.run("dpkg-query", "-W", "-f", "${Package} ${Status}\n").split()
        assert not host.succeeds("test", "-e", "/etc/leash"), host.run("ls", "-laR", "/etc/leash")
        assert host.run("ls", "/var/lib/leash").split(), "logs stay"
        left = host.sh("find / -xdev -iname '*leash*' -not -path '/var/lib/leash*' -not -path '/proc/*' -not -path '/root/*' "
                       "-not -path '/var/log/*' -not -path '/var/cache/apt/*' -not -path '/run/*' -not -path '/tmp/*'")
        assert not left.strip(), "purge left:\n" + left
        install(host, lab.deb)
        back(host, 2)


def gone(host):
    """Nothing of it runs, and nothing has failed."""
    wait_for(lambda: "leash" not in host.run("ps", "-eo", "comm"), "the processes are gone", 30)
    failed = host.run("systemctl", "--no-pager", "--failed", "--no-legend")
    assert "leash" not in failed, failed


def back(host, have):
    """Started again, with all that was in the log."""
    host.run("systemctl", "start", "leash-noded@P1", "leash-noded@S1", "leash-noded@S2", "leash-gatewayd")
    assert cli(host, "XADD", "engine", "*", "f", "v") == "%d-0" % (have + 1)


SCENARIOS = [one_host, hardening, remove_purge_reinstall]
FEW = [one_host]
