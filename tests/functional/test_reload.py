# SPDX-License-Identifier: MIT
"""SIGHUP: what changes, what stays, and what a wrong file does."""
import os

import pytest

import programs
import servers
from harness import SANITIZER, ask, config, connect, listener, proxy, read_all, reset


def test_unchanged(usherd):
    daemon = usherd({"web": listener("echo")})
    sock = daemon.connect("web")
    port = daemon.port("web")
    outcome = daemon.reload()
    assert outcome.ok and outcome.lines[-1].startswith("reloaded: ")
    assert "0 " in outcome.lines[-1] or "no" in outcome.lines[-1]
    assert ask(sock) == b"hello"
    assert ask(connect(("127.0.0.1", port))) == b"hello"


def test_difference_in_the_log(usherd):
    daemon = usherd({"web": listener("echo")})
    sock = daemon.connect("web")
    outcome = daemon.reload(config({"web": listener("echo", timeouts={"idle": "10min"})}, drain_timeout="3s"))
    assert outcome.ok
    assert "reload: listener web: timeouts.idle: 1h -> 10min" in outcome.lines
    assert "reload: drain_timeout: 10s -> 3s" in outcome.lines
    assert ask(sock) == b"hello"


def test_what_needs_a_restart_is_said(usherd):
    daemon = usherd({"web": listener("echo")}, workers=1)
    outcome = daemon.reload(config({"web": listener("echo")}, workers=2))
    assert outcome.ok
    assert "reload: workers: 1 -> 2 (needs a restart)" in outcome.lines


def test_new_connections_have_the_new_timeout_and_old_ones_the_old(usherd):
    daemon = usherd({"web": listener("echo")})
    old = daemon.connect("web")
    assert ask(old) == b"hello"
    port = daemon.port("web")
    daemon.reload(config({"web": listener("echo", timeouts={"idle": "200ms"})}))
    new = connect(("127.0.0.1", port))
    assert new.recv(1) == b"" if _ends_cleanly(new) else True
    daemon.wait_closed("idle")
    assert len(daemon.close_records(reason="idle")) == 1
    assert ask(old) == b"hello"


def _ends_cleanly(sock):
    try:
        return sock.recv(1) == b""
    except ConnectionResetError:
        return False


def test_listener_added_and_removed(usherd):
    daemon = usherd({"web": listener("echo")})
    stays = daemon.connect("web")
    outcome = daemon.reload(config({"web": listener("echo"), "day": listener("daytime")}))
    assert outcome.ok and any("listener day: added" in line for line in outcome.lines)
    daemon.wait_log(r"^listening on \S+ \(day\)")
    assert read_all(daemon.connect("day"))
    gone = daemon.address("day")
    outcome = daemon.reload(config({"web": listener("echo")}))
    assert outcome.ok and any("listener day: removed" in line for line in outcome.lines)
    with pytest.raises(ConnectionRefusedError):
        connect(gone)
    assert ask(stays) == b"hello"


def test_connections_of_a_removed_listener_go_on(usherd, serve):
    upstream = serve(servers.echo)
    daemon = usherd({"web": listener("echo"), "old": listener(proxy(upstream.address))})
    sock = daemon.connect("old")
    assert ask(sock) == b"hello"
    assert daemon.reload(config({"web": listener("echo")})).ok
    assert ask(sock) == b"hello"
    reset(sock)
    daemon.wait_closed(listener="old")


def test_service_of_a_listener_changes(usherd, serve):
    upstream = serve(servers.says(b"new"))
    daemon = usherd({"web": listener("echo")})
    old = daemon.connect("web")
    assert ask(old) == b"hello"
    port = daemon.port("web")
    assert daemon.reload(config({"web": listener(proxy(upstream.address))})).ok
    assert read_all(connect(("127.0.0.1", port))) == b"new"
    assert ask(old) == b"hello"


def test_upstreams_change(usherd, serve):
    first, second = serve(servers.says(b"1")), serve(servers.says(b"2"))
    daemon = usherd({"web": listener(proxy(first.address))})
    assert read_all(daemon.connect("web")) == b"1"
    outcome = daemon.reload(config({"web": listener(proxy(second.address))}))
    assert any("listener web: proxy.to" in line for line in outcome.lines)
    assert read_all(daemon.connect("web")) == b"2"


def test_listeners_with_port_0_are_told_apart(usherd):
    """The text of their address is the same, the sockets are not."""
    daemon = usherd({"web": listener("echo"), "day": listener("daytime")})
    web, day = daemon.address("web"), daemon.address("day")
    assert daemon.reload(config({"gen": listener("chargen"), "day": listener("daytime"), "web": listener("echo", "127.0.0.1:0")})).ok
    daemon.wait_log(r"^listening on \S+ \(gen\)")
    assert len({web, day, daemon.address("gen")}) == 3
    for _ in range(5):
        with connect(web) as one, connect(day) as two:
            assert ask(one) == b"hello"
            assert read_all(two).endswith(b"\r\n")


def test_addresses_of_a_listener_change(usherd, folder):
    daemon = usherd({"web": listener("echo", "127.0.0.1:0", f"unix:{folder}/a")})
    port = daemon.port("web")
    assert daemon.reload(config({"web": listener("echo", "127.0.0.1:0", f"unix:{folder}/b")})).ok
    assert ask(connect(("127.0.0.1", port))) == b"hello", "the address that stays lost its socket"
    assert ask(connect(f"unix:{folder}/b")) == b"hello"
    assert not os.path.exists(f"{folder}/a")


def test_renamed_listener_keeps_its_address(usherd, folder):
    """The address moves from one name to another within one reload."""
    daemon = usherd({"old": listener("echo", f"unix:{folder}/a")})
    assert daemon.reload(config({"new": listener("echo", f"unix:{folder}/a")})).ok
    with connect(f"unix:{folder}/a") as sock:
        assert ask(sock) == b"hello"
    daemon.wait_closed(listener="new")


@pytest.mark.parametrize("text, where", [
    ("listenrs: {};\n", "usherd.conf:1: listenrs"),
    ('\nlisteners: { web: { listen = "127.0.0.1:99999"; echo: {}; }; };\n', "usherd.conf:2: listeners.web.listen"),
    ("listeners: {\n  web: {\n", "usherd.conf:"),
    ("", "usherd.conf"),
])
def test_wrong_file_changes_nothing(usherd, text, where):
    daemon = usherd({"web": listener("echo")})
    sock = daemon.connect("web")
    assert ask(sock) == b"hello"
    before = daemon.fds()
    outcome = daemon.reload(text)
    assert not outcome.ok
    assert any(where in line for line in outcome.lines), outcome
    assert "the running configuration stays" in outcome.lines[-1]
    assert ask(sock) == b"hello"
    assert ask(daemon.connect("web")) == b"hello"
    assert daemon.fds() <= before + 1
    assert daemon.reload(config({"web": listener("echo")})).ok


def test_file_that_is_gone(usherd):
    daemon = usherd({"web": listener("echo")})
    daemon.path.unlink()
    outcome = daemon.reload()
    assert not outcome.ok
    assert ask(daemon.connect("web")) == b"hello"


def test_address_that_cannot_be_opened_changes_nothing(usherd, serve):
    """All or nothing: one listener of two new ones fails."""
    taken = serve(servers.echo)
    daemon = usherd({"web": listener("echo")})
    before = daemon.fds()
    outcome = daemon.reload(config({
        "web": listener("daytime"), "new": listener("echo", "127.0.0.1:0"), "bad": listener("echo", taken.address)}))
    assert not outcome.ok
    assert any(taken.address in line and "in use" in line for line in outcome.lines), outcome
    assert ask(daemon.connect("web")) == b"hello"
    daemon.wait_fds(before + 1)


def test_many_reloads_leak_nothing(usherd):
    daemon = usherd({"web": listener("echo")})
    one = config({"web": listener("echo"), "more": listener("daytime")})
    two = config({"web": listener("echo", timeouts={"idle": "5min"})})
    for text in (one, two) * 3:
        assert daemon.reload(text).ok
    fds, memory = daemon.fds(), daemon.own_kib()
    for text in (one, two) * 20:
        assert daemon.reload(text).ok
    daemon.wait_fds(fds)
    if not SANITIZER:
        assert daemon.own_kib() - memory < 512


@pytest.mark.heavy
@pytest.mark.programs("nginx", "wrk")
def test_not_one_failed_request_over_20_reloads(usherd, folder):
    with programs.nginx(folder, unix=True) as upstream:
        os.chmod(upstream[5:], 0o777)
        base = config({"web": listener(proxy(upstream))})
        changed = config({"web": listener(proxy(upstream), timeouts={"idle": "7min"})})
        more = config({"web": listener(proxy(upstream)), "more": listener("daytime")})
        daemon = usherd(text=base)
        loads = [programs.wrk_start(daemon.address("web"), 6, close=close) for close in (False, True)]
        daemon.wait_closed()  # traffic flows
        reloads = 0
        rounds = [base, changed, more, base]
        while reloads < 20 or any(load.poll() is None for load in loads):
            if reloads < 20:
                count = len(daemon.close_records())
                assert daemon.reload(rounds[reloads % len(rounds)]).ok
                daemon.wait_closed(count=count + 50)  # some traffic between two reloads
                reloads += 1
            elif loads[0].poll() is None:
                loads[0].wait(60)
            else:
                loads[1].wait(60)
        for load in loads:
            result = programs.wrk_result(load)
            assert result.requests > 500, result
            assert result.errors == 0 and result.bad == 0, result
        assert {r.reason for r in daemon.close_records()} <= {"client_closed", "upstream_closed", "client_reset"}
