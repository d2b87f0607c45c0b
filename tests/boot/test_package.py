# SPDX-License-Identifier: MIT
"""The package: apt install, upgrade, remove, purge, reinstall; and a machine that boots with it."""
import os
import socket
import stat
import threading

import pytest

import harness
from harness import listener, wait_until
from usher import CONFIG, SERVICE, SOCKET, Load, Usher

ECHO = "127.0.0.1:7001"
# where a fresh install listens
DAYTIME = "/run/usher/daytime.sock"
# what changes by itself, or keeps the history of packages
MOVES = ("/proc", "/sys", "/dev", "/run", "/tmp", "/var/log", "/var/cache", "/var/lib/dpkg", "/var/lib/apt", "/var/lib/systemd",
         "/var/tmp", "/root")
# of Debian's helpers, which say in policy that users stay, and of tools that keep a copy of what they changed
STAYS = {"/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-",
         "/etc/.pwd.lock", "/etc/ld.so.cache"}


def listing(machine):
    """All files of a machine: what they are and when they were changed; folders' times do not count."""
    files = {}
    top = str(machine.path("/"))
    for folder, folders, names in os.walk(top):
        inside = folder[len(top):] or "/"
        folders[:] = [f for f in folders if os.path.join("/", inside, f) not in MOVES]
        for name in folders + names:
            path = os.path.join("/", inside, name)
            info = os.lstat(os.path.join(folder, name))
            if stat.S_ISDIR(info.st_mode):
                files[path] = (oct(info.st_mode), info.st_uid, info.st_gid)
            else:
                files[path] = (oct(info.st_mode), info.st_uid, info.st_gid, info.st_size, info.st_mtime_ns)
    return files


def difference(before, after):
    return {path: (before.get(path), after.get(path)) for path in before.keys() | after.keys()
            if path not in STAYS and before.get(path) != after.get(path)}


def tells_the_time(machine):
    with harness.connect(f"unix:{machine.path(DAYTIME)}") as sock:
        return harness.read_all(sock).startswith(b"20")


def units(machine):
    return {line.split()[0] for line in machine.out("systemctl", "list-units", "--all", "--plain", "--no-legend", "usher*").splitlines()}


def test_install_remove_purge_reinstall(fresh_machine, deb):
    m = fresh_machine
    before = listing(m)
    m.install(deb)
    assert m.property(SERVICE, "ActiveState") == "active"
    assert m.out("systemctl", "is-enabled", SERVICE) == "enabled"
    # the socket unit is for those who want it
    assert m.run("systemctl", "is-enabled", SOCKET, check=False).stdout.strip() == "disabled"
    assert m.property(SOCKET, "ActiveState") == "inactive"
    assert tells_the_time(m)
    assert m.run("usherd", "--check").returncode == 0
    assert m.read("/usr/share/doc/usher/copyright")
    assert m.out("dpkg", "-V", "usher") == ""  # nothing in the package changes by being used
    # what an administrator wrote stays over remove and reinstall
    m.write(CONFIG, m.read(CONFIG) + "# ours\n")

    m.run("apt-get", "remove", "-qy", "usher")
    assert not m.path(DAYTIME).exists()
    assert m.property(SERVICE, "LoadState") in ("not-found", "masked")
    assert m.read(CONFIG).endswith("# ours\n")
    assert not m.path("/usr/sbin/usherd").exists()

    m.install(deb)
    assert m.property(SERVICE, "ActiveState") == "active"
    assert m.read(CONFIG).endswith("# ours\n")
    assert tells_the_time(m)

    m.run("apt-get", "purge", "-qy", "usher")
    assert difference(before, listing(m)) == {}
    assert not units(m)
    assert "usher" not in m.out("dpkg", "--get-selections")

    m.install(deb)
    assert m.property(SERVICE, "ActiveState") == "active"
    assert not m.read(CONFIG).endswith("# ours\n")
    assert tells_the_time(m)


@pytest.mark.parametrize("sockets", ["kept", "of a socket unit"])
def test_upgrade_with_connections_open(fresh_machine, older_deb, deb, sockets):
    """Those that are open may finish, nobody new is refused, and the new daemon runs the administrator's configuration."""
    m = fresh_machine
    m.install(older_deb)
    usher = Usher(m)
    where = ECHO
    if sockets == "of a socket unit":
        where = "systemd:web"
        usher.drop_in(f"[Socket]\nListenStream=\nListenStream={ECHO}\n", SOCKET)
        m.systemctl("stop", SERVICE)
        m.systemctl("enable", "--now", SOCKET)
    usher.configure({"echo": listener("echo", where)}, drain_timeout="30s")
    m.systemctl("restart", SERVICE)
    before = usher.pid
    version = m.out("dpkg-query", "-W", "-f", "${Version}", "usher")
    with m.connect(ECHO) as stays, Load(m, ECHO, 4) as load:
        harness.ask(stays)
        installing = threading.Thread(target=m.install, args=(deb,))
        installing.start()
        wait_until(lambda: usher.active == "deactivating", "the old daemon to stop", timeout=60)
        assert harness.ask(stays, b"still here") == b"still here"
        stays.shutdown(socket.SHUT_WR)
        assert harness.ended(stays) == "end"
        installing.join(60)
        load.wait_for(20)
    assert m.out("dpkg-query", "-W", "-f", "${Version}", "usher") != version
    assert usher.active == "active" and usher.pid != before
    assert usher.ask(ECHO) == b"hello"


def test_an_upgrade_leaves_a_stopped_service_stopped(fresh_machine, older_deb, deb):
    m = fresh_machine
    m.install(older_deb)
    m.systemctl("disable", "--now", SERVICE)
    m.install(deb)
    assert m.property(SERVICE, "ActiveState") == "inactive"
    assert m.run("systemctl", "is-enabled", SERVICE, check=False).stdout.strip() == "disabled"


def test_enable_and_boot(fresh_machine, deb):
    """Enabled, it is there after a boot, with all that its machine gives it; disabled, it is not."""
    m = fresh_machine
    m.install(deb)
    m.write(CONFIG, harness.config({"echo": listener("echo", ECHO), "unix": listener("echo", "unix:/run/usher/echo.sock")}, user="usher"))
    m.shut_down()
    m.boot()
    assert m.state() == "running", m.out("systemctl", "--failed", "--no-pager")
    assert m.property(SERVICE, "ActiveState") == "active"
    with m.connect(ECHO) as sock:
        assert harness.ask(sock) == b"hello"
    assert stat.S_ISSOCK(m.path("/run/usher/echo.sock").stat().st_mode)
    # the end of the boot before is in the journal: it was stopped, and ended well
    assert "Deactivated successfully" in m.out("journalctl", "-q", "-b", "-1", "UNIT=usherd.service")

    m.systemctl("disable", SERVICE)
    m.systemctl("enable", SOCKET)
    m.write(CONFIG, harness.config({"web": listener("echo", "systemd:web")}, user="usher"))
    m.write(f"/etc/systemd/system/{SOCKET}.d/where.conf", "[Socket]\nListenStream=\nListenStream=127.0.0.1:80\n")
    m.shut_down()
    m.boot()
    assert m.property(SERVICE, "ActiveState") == "inactive"
    with m.connect("127.0.0.1:80") as sock:
        assert harness.ask(sock) == b"hello"
    assert m.property(SERVICE, "ActiveState") == "active"
