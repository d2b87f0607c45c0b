# SPDX-License-Identifier: MIT
"""Listening sockets that outlive the daemon: the socket unit's, and those that the service manager keeps for it."""
import pytest

import harness
from harness import listener, wait_until
from usher import SERVICE, SOCKET

RESTARTS = 50
ECHO = "127.0.0.1:7001"


def has_user_namespaces(machine):
    """A machine whose host is a chroot has none."""
    return machine.run("unshare", "--user", "true", check=False).returncode == 0


@pytest.fixture
def web(usher):
    """usherd.socket with a port below 1024 as the listener web, and a service without any capability."""
    usher.drop_in("[Socket]\nListenStream=\nListenStream=127.0.0.1:80\n", SOCKET)
    usher.drop_in((harness.TOP / "systemd/examples/no-capabilities.conf").read_text(encoding="utf-8"))
    if not has_user_namespaces(usher.machine):
        usher.drop_in("[Service]\nPrivateUsers=no\n")
    usher.configure({"web": listener("echo", "systemd:web")})
    usher.machine.systemctl("stop", SERVICE)
    usher.machine.systemctl("start", SOCKET)
    return "127.0.0.1:80"


def test_the_first_connection_starts_it(usher, web):
    assert usher.active == "inactive"
    assert usher.ask(web) == b"hello"
    assert usher.active == "active"
    assert usher.machine.wait_journal("USHER_LISTENER=web", pattern="listening on 127.0.0.1:80 .*passed by systemd")


def test_a_port_below_1024_without_any_capability(usher, web):
    assert usher.ask(web) == b"hello"
    status = usher.status()
    for kind in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[kind], 16) == 0, kind
    assert int(status["Uid"].split()[0]) != 0


def test_without_capabilities_other_users_do_not_exist(usher, web):
    if not has_user_namespaces(usher.machine):
        pytest.skip("no user namespace to be had in this machine")
    assert usher.ask(web) == b"hello"
    users = usher.machine.out("cat", f"/proc/{usher.pid}/uid_map").splitlines()
    assert len(users) > 0 and all(int(line.split()[2]) == 1 for line in users), users


def test_its_own_port_becomes_a_socket_units(usher):
    """What systemd keeps for the service is in the socket unit's way, until the service is stopped."""
    m = usher.machine
    usher.drop_in("[Socket]\nListenStream=\nListenStream=127.0.0.1:80\n", SOCKET)
    usher.undo.callback(m.systemctl, "disable", SOCKET)
    usher.restart({"web": listener("echo", "127.0.0.1:80")})
    usher.configure({"web": listener("echo", "systemd:web")})
    m.systemctl("stop", SERVICE)
    m.systemctl("enable", "--now", SOCKET)
    m.systemctl("start", SERVICE)
    assert usher.ask("127.0.0.1:80") == b"hello"
    assert m.wait_journal("USHER_LISTENER=web", pattern="listening on 127.0.0.1:80 .*passed by systemd")
    # and back; who restarts it at once, with the port still the other's, is helped by the next try
    usher.configure({"web": listener("echo", "127.0.0.1:80")})
    m.systemctl("disable", "--now", SOCKET)
    usher.restart()
    usher.configure({"web": listener("echo", "systemd:web")})
    m.systemctl("enable", SOCKET)
    m.systemctl("restart", SERVICE, check=False)
    wait_until(lambda: usher.active == "active", usher.status_page)
    assert usher.ask("127.0.0.1:80") == b"hello"


def test_restarts_behind_a_socket_unit_refuse_nobody(usher, web):
    with usher.load(web) as load:
        for _ in range(RESTARTS):
            usher.machine.systemctl("restart", SERVICE)
            load.wait_for(1)
    assert load.served >= RESTARTS


def test_a_stopped_service_behind_a_socket_unit_refuses_nobody(usher, web):
    """Who comes while it is down starts it again."""
    assert usher.ask(web) == b"hello"
    usher.machine.systemctl("stop", SERVICE)
    assert usher.ask(web) == b"hello"
    assert usher.active == "active"


def test_a_crash_behind_a_socket_unit_refuses_nobody(usher, web):
    assert usher.ask(web) == b"hello"
    before = usher.pid
    usher.machine.kill(before)
    assert usher.ask(web) == b"hello"
    assert usher.pid != before


def test_restarts_refuse_nobody(usher):
    """Without a socket unit: the service manager keeps the sockets meanwhile."""
    usher.restart({"echo": listener("echo", ECHO), "unix": listener("echo", "unix:/run/usher/echo.sock")})
    unix = f"unix:{usher.machine.path('/run/usher/echo.sock')}"
    with usher.load(ECHO) as load, usher.load(unix, clients=1) as unix_load:
        for _ in range(RESTARTS):
            usher.machine.systemctl("restart", SERVICE)
            load.wait_for(1)
            unix_load.wait_for(1)
    assert load.served >= RESTARTS
    assert int(usher.machine.property(SERVICE, "NFileDescriptorStore")) == 2


def test_a_crash_refuses_nobody(usher):
    """What the service manager keeps outlives the daemon however it ends."""
    usher.restart({"echo": listener("echo", ECHO)})
    before = usher.pid
    with usher.load(ECHO) as load:
        usher.machine.kill(before)
        wait_until(lambda: usher.pid not in (0, before), "another daemon")
        # those that it was serving are lost; nobody is turned away
        load.forgive("ConnectionReset|BrokenPipe|got b''")
        load.wait_for(5)
    assert usher.active == "active"


def test_sockets_no_longer_configured_are_not_kept(usher):
    usher.restart({"echo": listener("echo", ECHO), "more": listener("echo", "127.0.0.1:7002")})
    m = usher.machine
    assert int(m.property(SERVICE, "NFileDescriptorStore")) == 2
    usher.configure({"echo": listener("echo", ECHO)})
    m.systemctl("reload", SERVICE)
    wait_until(lambda: int(m.property(SERVICE, "NFileDescriptorStore")) == 1, "the store to forget a socket")
    with pytest.raises(ConnectionRefusedError):
        m.connect("127.0.0.1:7002")
    # and those that went while it was down
    usher.configure({"other": listener("echo", "127.0.0.1:7003")})
    m.systemctl("restart", SERVICE)
    wait_until(lambda: int(m.property(SERVICE, "NFileDescriptorStore")) == 1, "the store to forget a socket")
    with pytest.raises(ConnectionRefusedError):
        m.connect(ECHO)
    assert usher.ask("127.0.0.1:7003") == b"hello"


def test_a_stop_closes_what_was_kept(usher):
    """A service that is stopped, not restarted, listens no more."""
    usher.restart({"echo": listener("echo", ECHO)})
    usher.machine.systemctl("stop", SERVICE)
    with pytest.raises(ConnectionRefusedError):
        usher.machine.connect(ECHO)


def test_a_client_in_the_backlog_is_served_after_the_restart(usher):
    """It came while nobody accepted."""
    usher.restart({"echo": listener("echo", ECHO)})
    usher.machine.kill(usher.pid, "STOP")
    with usher.machine.connect(ECHO) as sock:
        sock.sendall(b"early")
        usher.machine.kill(usher.pid)
        assert harness.read_all(sock, 5) == b"early"
