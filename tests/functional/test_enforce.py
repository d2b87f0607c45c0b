# SPDX-License-Identifier: MIT
"""enforce = true: what lists refuse now is closed, though it was let in before."""
import os
import pathlib
import socket
import subprocess
import sys

import pytest

import servers
from harness import IS_ROOT, ask, config, ended, listener, proxy


@pytest.fixture(name="place")
def _place(folder):
    return pathlib.Path(folder)


def put(path, text):
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(0o644)
    new.rename(path)


def come(daemon, name, *sources):
    """Clients of these addresses, each of which has had an answer."""
    socks = [daemon.connect(name, source=(source, 0)) for source in sources]
    assert [ask(sock) for sock in socks] == [b"hello"] * len(socks)
    return socks


def stays(*socks):
    for sock in socks:
        assert ask(sock, b"still here") == b"still here"


def test_after_a_reload(usherd):
    daemon = usherd({"web": listener("echo"), "lax": listener("echo")})
    one, two = come(daemon, "web", "127.0.0.1", "127.0.0.2")
    lax = come(daemon, "lax", "127.0.0.2")
    denies = {"deny": ["127.0.0.2"]}
    assert daemon.reload(config({"web": listener("echo", enforce=True, **denies), "lax": listener("echo", **denies)})).ok
    assert ended(two) == "reset"
    record = daemon.wait_closed("no_longer_allowed")
    assert (record.listener, record.peer.split(":")[0]) == ("web", "127.0.0.2")
    stays(one, *lax)
    assert len(daemon.close_records()) == 1


def test_whoever_is_not_allowed_any_more(usherd):
    daemon = usherd({"web": listener("echo", allow=["127.0.0.0/8"], enforce=True)})
    one, two = come(daemon, "web", "127.0.0.1", "127.0.0.2")
    assert daemon.reload(config({"web": listener("echo", allow=["127.0.0.1"], enforce=True)})).ok
    assert ended(two) == "reset"
    daemon.wait_closed("no_longer_allowed")
    stays(one)


def test_of_the_door_for_all(usherd):
    """Also for a listener that is no more; trusted is no help against deny."""
    daemon = usherd({"web": listener("echo", trusted=["127.0.0.2"]), "gone": listener("echo")})
    stay = come(daemon, "web", "127.0.0.1") + come(daemon, "gone", "127.0.0.1")
    go = come(daemon, "web", "127.0.0.2") + come(daemon, "gone", "127.0.0.2")
    door = {"deny": ["127.0.0.2"], "enforce": True}
    assert daemon.reload(config({"web": listener("echo", trusted=["127.0.0.2"])}, door=door)).ok
    assert [ended(sock) for sock in go] == ["reset", "reset"]
    daemon.wait_closed("no_longer_allowed", count=2)
    stays(*stay)


def test_a_listener_with_another_name_is_another(usherd):
    daemon = usherd({"web": listener("echo")})
    (one,) = come(daemon, "web", "127.0.0.1")
    assert daemon.reload(config({"www": listener("echo", deny=["127.0.0.1"], enforce=True)})).ok
    stays(one)


def test_when_a_list_changes(usherd, place):
    deny = place / "deny.txt"
    put(deny, "192.0.2.0/24\n")
    daemon = usherd({"web": listener("echo", enforce=True, deny=[f"file:{deny}"]),
                     "lax": listener("echo", deny=[f"file:{deny}"])})
    one, two, three = come(daemon, "web", "127.0.0.1", "127.0.0.2", "127.0.0.3")
    lax = come(daemon, "lax", "127.0.0.2")
    put(deny, "127.0.0.2\n")
    assert ended(two) == "reset"
    stays(one, three, *lax)
    put(deny, "127.0.0.2\n127.0.0.3\n")
    assert ended(three) == "reset"
    stays(one, *lax)
    daemon.wait_closed("no_longer_allowed", count=2)
    # one that is wrong changes nothing
    since = daemon.mark()
    put(deny, "127.0.0.1\n127.0.0.300\n")
    daemon.wait_log("^changed list is not taken up", since=since)
    stays(one)


def test_all_workers_and_many_connections(usherd):
    daemon = usherd({"web": listener("echo")}, workers=4)
    stay = come(daemon, "web", *["127.0.0.1"] * 150)
    go = come(daemon, "web", *["127.0.0.2"] * 150)
    assert daemon.reload(config({"web": listener("echo", enforce=True, deny=["127.0.0.2"])}, workers=4)).ok
    assert {ended(sock) for sock in go} == {"reset"}
    daemon.wait_closed("no_longer_allowed", count=150)
    stays(*stay)


def test_in_the_middle_of_a_relay(usherd, serve):
    """The upstream learns of it too."""
    upstream = serve(servers.echo).address
    daemon = usherd({"web": listener(proxy(upstream))})
    one, two = come(daemon, "web", "127.0.0.1", "127.0.0.2")
    assert daemon.reload(config({"web": listener(proxy(upstream), enforce=True, deny=["127.0.0.2"])})).ok
    assert ended(two) == "reset"
    assert daemon.wait_closed("no_longer_allowed").upstream == upstream
    stays(one)


def test_peers_by_user(usherd, place):
    """The kernel is asked again who is on a connection."""
    path = place / "web.sock"
    where = f"unix:{path}"
    mode = {"unix": {"mode": "0666"}}
    daemon = usherd({"web": listener("echo", where, enforce=True, **mode)})
    mine = daemon.connect("web")
    assert ask(mine) == b"hello"
    assert daemon.reload(config({"web": listener("echo", where, enforce=True, allow=[f"uid:{os.geteuid()}"], **mode)})).ok
    stays(mine)
    assert daemon.reload(config({"web": listener("echo", where, enforce=True, deny=[f"uid:{os.geteuid()}"], **mode)})).ok
    assert ended(mine) == "end"  # a UNIX socket knows no reset
    daemon.wait_closed("no_longer_allowed")


CLIENT = """
import os, socket, sys
os.setgid(65534)
os.setuid(65534)
s = socket.socket(socket.AF_UNIX)
s.connect(sys.argv[1])
s.sendall(b"x")
assert s.recv(1) == b"x"
print("in", flush=True)
print("ended" if s.recv(1) == b"" else "data", flush=True)
"""


@pytest.mark.skipif(not IS_ROOT, reason="needs root, to be two users")
def test_one_of_two_users(usherd, place):
    path = place / "web.sock"
    mode = {"unix": {"mode": "0666"}}
    daemon = usherd({"web": listener("echo", f"unix:{path}", **mode)})
    mine = daemon.connect("web")
    assert ask(mine) == b"hello"
    with subprocess.Popen([sys.executable, "-c", CLIENT, str(path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "in\n"
        text = config({"web": listener("echo", f"unix:{path}", enforce=True, deny=["user:nobody"], **mode)})
        assert daemon.reload(text).ok
        assert other.stdout.readline() == "ended\n"
    daemon.wait_closed("no_longer_allowed")
    stays(mine)


def test_a_peer_that_has_passed_its_socket_on(usherd, place):
    """Who connected counts, not who has the socket now."""
    daemon = usherd({"web": listener("echo", f"unix:{place}/web.sock", enforce=True)})
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    child = os.fork()
    if child == 0:
        try:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(f"{place}/web.sock")
            socket.send_fds(theirs, [b"x"], [sock.fileno()])
        finally:
            os._exit(0)
    _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(child, 0)
    sock = socket.socket(fileno=fds[0])
    daemon.sockets += [sock, ours, theirs]
    assert ask(sock) == b"hello"
    text = config({"web": listener("echo", f"unix:{place}/web.sock", enforce=True, allow=[f"uid:{os.geteuid()}"])})
    assert daemon.reload(text).ok
    stays(sock)
