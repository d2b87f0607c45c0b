# SPDX-License-Identifier: MIT
"""Where usherd listens, and with which options."""
import grp
import os
import pwd
import re
import socket
import stat
import subprocess

import pytest

from harness import SANITIZER, ask, config, connect, free_port, listener, reset, run, wait_until


@pytest.mark.parametrize("where", ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0", "127.0.0.1%lo:0", "[::1]%lo:0"])
def test_tcp(usherd, where):
    if where == "[::1]%lo:0":
        where = "[::]%lo:0"
    daemon = usherd({"echo": listener("echo", where)})
    port = daemon.port("echo")
    assert port > 0
    assert ask(connect(("::1" if "::" in where else "127.0.0.1", port))) == b"hello"
    daemon.stop()


def test_ipv6_wildcard_is_ipv6_only(usherd):
    daemon = usherd({"echo": listener("echo", "[::]:0")})
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", daemon.port("echo")))


def test_star_opens_one_socket_of_each_family(usherd):
    port = free_port("::1")
    daemon = usherd({"echo": listener("echo", f"*:{port}")})
    assert sorted(daemon.addresses["echo"]) == sorted([f"0.0.0.0:{port}", f"[::]:{port}"])
    assert ask(connect(("127.0.0.1", port))) == b"hello"
    assert ask(connect(("::1", port))) == b"hello"


def test_star_with_port_0_has_one_port(usherd):
    daemon = usherd({"echo": listener("echo", "*:0")})
    ports = {address.rsplit(":", 1)[1] for address in daemon.addresses["echo"]}
    assert len(daemon.addresses["echo"]) == 2
    for host in ("127.0.0.1", "::1"):
        index = 0 if ("[" in daemon.address("echo", 0)) == (host == "::1") else 1
        assert ask(connect((host, daemon.port("echo", index)))) == b"hello"
    assert ports


def test_many_addresses_of_one_listener(usherd, folder):
    daemon = usherd({"echo": listener("echo", "127.0.0.1:0", "[::1]:0", f"unix:{folder}/e.sock", "127.0.0.1:0")})
    assert len(daemon.addresses["echo"]) == 4
    for index in range(4):
        assert ask(daemon.connect("echo", index)) == b"hello"


def test_many_listeners(usherd):
    daemon = usherd({f"l{i}": listener("echo") for i in range(50)})
    assert len({daemon.port(f"l{i}") for i in range(50)}) == 50
    assert ask(daemon.connect("l49")) == b"hello"


def test_unix_path(usherd, folder):
    path = f"{folder}/e.sock"
    daemon = usherd({"echo": listener("echo", f"unix:{path}", unix={"mode": "0640"})})
    assert daemon.address("echo") == f"unix:{path}"
    mode = os.stat(path)
    assert stat.S_ISSOCK(mode.st_mode) and stat.S_IMODE(mode.st_mode) == 0o640
    assert ask(connect(f"unix:{path}")) == b"hello"
    daemon.stop()
    assert not os.path.exists(path), "the socket's file stays after the end"


@pytest.mark.root
def test_unix_path_owner(usherd, folder):
    path = f"{folder}/e.sock"
    usherd({"echo": listener("echo", f"unix:{path}", unix={"user": "nobody", "group": "daemon"})})
    found = os.stat(path)
    assert found.st_uid == pwd.getpwnam("nobody").pw_uid
    assert found.st_gid == grp.getgrnam("daemon").gr_gid


def test_abstract(usherd):
    name = f"usher-test-{os.getpid()}"
    daemon = usherd({"echo": listener("echo", f"unix:@{name}")})
    assert daemon.address("echo") == f"unix:@{name}"
    assert ask(connect(f"unix:@{name}")) == b"hello"


def test_stale_unix_socket_is_replaced(usherd, folder):
    path = f"{folder}/e.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
    assert os.path.exists(path)
    usherd({"echo": listener("echo", f"unix:{path}")})
    assert ask(connect(f"unix:{path}")) == b"hello"


def test_live_unix_socket_is_an_error_that_says_who(usherd, folder):
    path = f"{folder}/e.sock"
    first = usherd({"echo": listener("echo", f"unix:{path}")})
    code, _, err = run(text=config({"echo": listener("echo", f"unix:{path}")}), folder=folder)
    assert code != 0
    assert path in err and str(first.pid) in err
    assert ask(connect(f"unix:{path}")) == b"hello", "the first one lost its socket"


def test_live_unix_socket_of_another_program(folder):
    path = f"{folder}/e.sock"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        sock.listen()
        code, _, err = run(text=config({"echo": listener("echo", f"unix:{path}")}), folder=folder)
        assert code != 0
        assert str(os.getpid()) in err
        assert os.path.exists(path)


def test_a_file_in_the_way_is_not_removed(folder):
    path = f"{folder}/e.sock"
    with open(path, "w", encoding="ascii") as file:
        file.write("precious")
    code, _, err = run(text=config({"echo": listener("echo", f"unix:{path}")}), folder=folder)
    assert code != 0
    assert path in err
    with open(path, encoding="ascii") as file:
        assert file.read() == "precious"


def test_address_in_use_names_the_place(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, _, err = run(text=config({"web": listener("echo", f"127.0.0.1:{port}")}), folder=folder)
    assert code != 0
    assert re.search(rf"listen.*127\.0\.0\.1:{port}.*(in use|already)|127\.0\.0\.1:{port}", err)
    assert "in use" in err
    assert "web" in err


def test_address_that_is_not_here(folder):
    code, _, err = run(text=config({"web": listener("echo", "192.0.2.77:0")}), folder=folder)
    assert code != 0
    assert "192.0.2.77:0" in err and "web" in err


def test_interface_that_is_not_here(folder):
    code, _, err = run(text=config({"web": listener("echo", "127.0.0.1%nosuch0:0")}), folder=folder)
    assert code != 0
    assert "nosuch0" in err and "web" in err


def test_port_can_be_taken_again_at_once(usherd):
    """reuse_address: connections of the last run in TIME_WAIT do not stop the next."""
    daemon = usherd({"day": listener("daytime")})
    port = daemon.port("day")
    with connect(("127.0.0.1", port)) as sock:
        assert sock.recv(100)
    daemon.wait_closed()
    daemon.stop()
    usherd({"day": listener("daytime", f"127.0.0.1:{port}")})
    assert connect(("127.0.0.1", port)).recv(100)


def socket_options(text, listening_port):
    """What `ss` says of the accepted (established, server side) socket."""
    out = subprocess.run(
        ["ss", "-Htinoem", "state", "established", f"( sport = :{listening_port} )"],
        capture_output=True, text=True, check=True,
    ).stdout
    assert out, text
    return out


@pytest.mark.programs("ss")
def test_keepalive_is_on_by_default(usherd):
    daemon = usherd({"echo": listener("echo")})
    sock = daemon.connect("echo")
    assert ask(sock) == b"hello"
    shown = socket_options("keepalive", daemon.port("echo"))
    timer = re.search(r"timer:\(keepalive,(?:(\d+)sec|1min,)", shown)  # a whole minute is written as one
    assert timer and 50 <= int(timer.group(1) or 60) <= 60, shown


@pytest.mark.programs("ss")
def test_keepalive_off(usherd):
    daemon = usherd({"echo": listener("echo", keepalive={"enabled": False})})
    sock = daemon.connect("echo")
    assert ask(sock) == b"hello"
    assert "keepalive" not in socket_options("keepalive", daemon.port("echo"))


@pytest.mark.programs("ss")
def test_buffer_sizes(usherd):
    daemon = usherd({"echo": listener("echo", receive_buffer="100KiB", send_buffer="60KiB")})
    sock = daemon.connect("echo")
    assert ask(sock) == b"hello"
    shown = socket_options("buffers", daemon.port("echo"))
    assert f"rb{2 * 100 * 1024}" in shown and f"tb{2 * 60 * 1024}" in shown


@pytest.mark.programs("ss")
def test_backlog(usherd):
    daemon = usherd({"few": listener("echo", backlog=7), "most": listener("echo")})
    with open("/proc/sys/net/core/somaxconn", encoding="ascii") as file:
        most = file.read().strip()
    for name, expected in (("few", "7"), ("most", most)):
        out = subprocess.run(["ss", "-Hltn", f"( sport = :{daemon.port(name)} )"], capture_output=True, text=True, check=True).stdout
        assert out.split()[2] == expected


@pytest.mark.programs("strace")
@pytest.mark.skipif(SANITIZER is not None, reason="a sanitizer does not run under strace")
def test_options_of_the_listening_socket(usherd, folder):
    trace = f"{folder}/trace"
    daemon = usherd(
        {"echo": listener("echo", defer_accept="5s", user_timeout="30s", nodelay=False,
                          keepalive={"idle": "90s", "interval": "7s", "count": 3})},
        start_options={"wrapper": ["strace", "-D", "-f", "-qq", "-e", "trace=setsockopt,listen", "-o", trace]},
    )
    daemon.stop()

    def seen():
        with open(trace, encoding="utf-8") as file:
            return file.read()

    wait_until(lambda: "listen(" in seen())
    text = seen()
    for option in (r"TCP_KEEPIDLE, \[90\]", r"TCP_KEEPINTVL, \[7\]", r"TCP_KEEPCNT, \[3\]", r"SO_KEEPALIVE, \[1\]",
                   r"TCP_USER_TIMEOUT, \[30000\]", r"TCP_DEFER_ACCEPT, \[5\]", r"SO_REUSEADDR, \[1\]"):
        assert re.search(option, text), f"{option} in:\n{text}"
    assert not re.search(r"TCP_NODELAY, \[1\]", text)


def test_reset_before_accept(usherd):
    """A client that is gone when it is accepted harms nobody."""
    daemon = usherd({"echo": listener("echo")})
    for _ in range(200):
        reset(connect(daemon.address("echo")))
    assert ask(daemon.connect("echo")) == b"hello"
    daemon.wait_closed(count=200)
