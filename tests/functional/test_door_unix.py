# SPDX-License-Identifier: MIT
"""Clients of UNIX sockets are let in by who they are: user, group, systemd unit."""
import contextlib
import grp
import os
import pwd
import socket
import subprocess
import sys

import pytest

from harness import ask, config, connect, listener, wait_until

# says whether it was served; with an argument it waits for a line on stdin before it connects
CLIENT = """
import socket, sys
if len(sys.argv) > 2:
    print("ready", flush=True)
    sys.stdin.readline()
sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
try:
    sock.sendall(b"hello")
    print("served" if sock.recv(5) == b"hello" else "refused")
except (ConnectionResetError, BrokenPipeError):
    print("refused")
"""


def shared(service="echo", path=None, **options):
    return {**listener(service, f"unix:{path}", **options), "unix": {"mode": "0666"}}


def outcome(path, uid, gid=65534, groups=()):
    """What a client of this user and these groups gets."""
    more = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
    done = subprocess.run(
        ["setpriv", f"--reuid={uid}", f"--regid={gid}", *more, sys.executable, "-c", CLIENT, path],
        capture_output=True, text=True, check=True,
    )
    return done.stdout.strip()


def test_ones_own_user(usherd, folder):
    """What can be seen without being root."""
    me, mine = os.geteuid(), os.getegid()
    allows = {
        "uid": f"uid:{me}", "gid": f"gid:{mine}", "user": f"user:{pwd.getpwuid(me).pw_name}",
        "group": f"group:{grp.getgrgid(mine).gr_name}",
    }
    others = {"other_uid": "uid:4321", "other_gid": "gid:4321", "unit": "unit:none.service"}
    daemon = usherd({
        name: shared(path=f"{folder}/{name}", allow=[entry]) for name, entry in {**allows, **others}.items()
    } | {"denied": shared(path=f"{folder}/denied", allow=[f"uid:{me}"], deny=[f"gid:{mine}"])})
    for name in allows:
        assert ask(daemon.connect(name)) == b"hello", name
    for name in [*others, "denied"]:
        sock = daemon.connect(name)
        try:
            assert ask(sock) == b"", name
        except (BrokenPipeError, ConnectionResetError):
            pass
    daemon.stop()
    who = f"unix uid {me}"
    assert {name: daemon.refused(peer=who, listener=name) for name in others} == dict.fromkeys(others, 1)
    assert daemon.refused("denied", who, "denied") == 1


@pytest.mark.root
@pytest.mark.programs("setpriv")
def test_one_user_does_not_take_all_room(usherd, folder):
    """A client counts as its user when room is short; it has no limits of a source, and is not banned."""
    path = f"{folder}/x"
    limits = {"connections": 50, "per_source": 1}
    daemon = usherd({"x": shared(path=path)}, door={"overload": {"percent": 60}, "limits": limits, "ban": {"after": 1}})
    open_ones = []
    while len(open_ones) < 50:
        sock = daemon.connect("x")
        try:
            if ask(sock) != b"hello":
                break
        except (BrokenPipeError, ConnectionResetError):
            break
        open_ones.append(sock)
    assert len(open_ones) == 31, "beyond 60%, and with more than an eighth of what is left"
    daemon.wait_refused("overload", f"unix uid {os.geteuid()}")
    assert outcome(path, 4001) == "served"
    for sock in open_ones:
        sock.close()
    daemon.wait_closed("client_closed", 32)
    assert ask(daemon.connect("x")) == b"hello"


@pytest.mark.root
@pytest.mark.programs("setpriv")
def test_users_and_groups(usherd, folder):
    path = f"{folder}/x"
    daemon = usherd({"x": shared(path=path, allow=["uid:4001", "user:daemon", "gid:4002", "group:games"], deny=["gid:4003"])})
    games, daemons = grp.getgrnam("games").gr_gid, pwd.getpwnam("daemon").pw_uid
    assert outcome(path, 4001) == "served"
    assert outcome(path, daemons) == "served"
    assert outcome(path, 4009, gid=4002) == "served"
    assert outcome(path, 4009, groups=[5, 4002]) == "served", "a supplementary group is one too"
    assert outcome(path, 4009, groups=[games]) == "served"
    assert outcome(path, 4009) == "refused"
    assert outcome(path, 0) == "refused", "root is a user like others"
    assert outcome(path, 4001, groups=[4003]) == "refused", "deny wins"
    text = config({"x": shared(path=path, deny=["uid:4001"])}, door={"trusted": ["uid:4005"]})
    assert daemon.reload(text).ok
    assert [outcome(path, uid) for uid in (4001, 4009, 0)] == ["refused", "served", "served"]
    daemon.stop()
    assert daemon.refused("not_allowed", "unix uid 4009") == 1
    assert daemon.refused("not_allowed", "unix uid 0") == 1
    assert daemon.refused("denied", "unix uid 4001") == 2


@pytest.mark.root
@pytest.mark.programs("setpriv")
def test_limits_are_for_all_users_together(usherd, folder):
    path = f"{folder}/x"
    limits = {"connections": 1, "per_source": 1, "rate_per_source": "1/d burst 1"}
    daemon = usherd({"x": shared(path=path, limits=limits, trusted=["uid:4005"], ban={"after": 1})})
    with connect(f"unix:{path}") as sock:
        assert ask(sock) == b"hello"
        assert outcome(path, 4001) == "refused"
        assert outcome(path, 4005) == "served"
    daemon.wait_refused("limit_connections", "unix uid 4001")
    wait_until(lambda: outcome(path, 4001) == "served", "the place to be free: it has no source, so no rate and no ban")


@contextlib.contextmanager
def cgroup(name):
    """A cgroup of this name in the unified hierarchy: its folder. Both go."""
    mount = f"/tmp/{name}.mount"
    os.mkdir(mount)
    try:
        done = subprocess.run(["mount", "-t", "cgroup2", "none", mount], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"no cgroup to be had: {done.stderr.strip()}")
        path = f"{mount}/{name}"
        try:
            try:
                os.mkdir(path)
            except OSError as error:
                pytest.skip(f"no cgroup to be had: {error}")
            try:
                yield path
            finally:
                wait_until(lambda: remove_folder(path), "its processes to be gone")
        finally:
            subprocess.run(["umount", mount], check=True)
    finally:
        os.rmdir(mount)


def remove_folder(path):
    try:
        os.rmdir(path)
    except OSError:
        return False
    return True


@pytest.mark.root
@pytest.mark.programs("mount", "umount")
def test_units(usherd, folder):
    """A unit is the cgroup that systemd puts its processes into."""
    name = f"usher-test-{os.getpid()}.service"
    path = f"{folder}/x"
    with cgroup(name) as group:
        daemon = usherd({"x": shared(path=path, allow=[f"unit:{name}"])})
        for inside in (True, False):
            client = subprocess.Popen(
                [sys.executable, "-c", CLIENT, path, "wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            assert client.stdout.readline() == "ready\n"
            if inside:
                with open(f"{group}/cgroup.procs", "w", encoding="ascii") as procs:
                    procs.write(str(client.pid))
            said, _ = client.communicate("\n")
            assert said.strip() == ("served" if inside else "refused"), daemon.tail()
        daemon.wait_refused("not_allowed", "unix uid 0", "x")


HIDDEN = ["unshare", "-m", "sh", "-c", 'mount -t proc -o hidepid=invisible proc /proc && exec "$@"', "sh"]


@pytest.mark.parametrize("hides", [pytest.param(True, marks=pytest.mark.root), False])
def test_units_that_proc_hides_are_said(usherd, folder, hides):
    """As ProtectProc=invisible does; only where a rule asks for them, at a reload too."""
    daemon = usherd({"x": shared(path=f"{folder}/x")}, start_options={"wrapper": HIDDEN} if hides else None)
    assert not any("ProtectProc" in line for line in daemon.log)
    outcome = daemon.reload(config({"x": shared(path=f"{folder}/x", allow=["unit:a.service"])}))
    assert outcome.ok
    assert any('"unit:"' in line and "ProtectProc=default" in line for line in outcome.lines) == hides


def test_a_client_that_is_gone_is_known_all_the_same(usherd, folder):
    """The kernel notes who it was when it connects."""
    me = os.geteuid()
    path = f"{folder}/x"
    daemon = usherd({"x": shared(path=path, deny=[f"uid:{me}"])})
    for _ in range(20):
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(path)
    wait_until(lambda: daemon.refused("denied", f"unix uid {me}"), "the first to be told of")
    daemon.stop()
    assert daemon.refused("denied", f"unix uid {me}", "x") == 20


@pytest.mark.root
@pytest.mark.programs("setpriv", "unshare")
def test_root_of_a_user_namespace_is_who_it_was(usherd, folder):
    """In a namespace of its own anybody can be root; to usherd it is who it is outside."""
    path = f"{folder}/x"
    daemon = usherd({"x": shared(path=path, allow=["uid:4001"]), "root": shared(path=f"{folder}/root", allow=["uid:0", "gid:0"])})
    for name, expected in (("x", "served"), ("root", "refused")):
        done = subprocess.run(
            ["setpriv", "--reuid=4001", "--regid=4002", "--clear-groups", "unshare", "--user", "--map-root-user",
             sys.executable, "-c", CLIENT, f"{folder}/{name}"], capture_output=True, text=True, check=False,
        )
        if "unshare failed" in done.stderr:
            pytest.skip(f"no user namespace to be had: {done.stderr.strip()}")
        assert done.stdout.strip() == expected, done.stderr
    daemon.wait_refused("not_allowed", "unix uid 4001", "root")


@pytest.mark.root
@pytest.mark.programs("setpriv", "unshare")
def test_a_user_that_has_no_id_here(usherd, folder):
    """To a daemon in a user namespace everybody whom that has no id for is 65534: that is nobody then."""
    if subprocess.run(["unshare", "--user", "true"], check=False, capture_output=True).returncode != 0:
        pytest.skip("no user namespace to be had")
    rules = {"open": {}, "allowed": {"allow": ["uid:65534", "gid:65534"]}, "denied": {"deny": ["uid:4001"]}}
    text = config({name: shared(path=f"{folder}/{name}", **rule) for name, rule in rules.items()}).replace('user = "nobody";\n', "")
    daemon = usherd(text=text, start_options={"wrapper": ["unshare", "--user"]})
    assert [name for name in rules if outcome(f"{folder}/{name}", 4001) == "served"] == ["open"]
    daemon.stop()
    assert daemon.refused("not_allowed", "unix", "allowed") == 1
    assert daemon.refused("denied", "unix", "denied") == 1


@pytest.mark.root
@pytest.mark.programs("unshare")
def test_a_peer_without_credentials(usherd, folder):
    """To a daemon in a PID namespace of its own the kernel cannot name a client outside: nobody's rule fits it."""
    allow = ["uid:0", "gid:0", "uid:65534", "gid:65534", "unit:x.service"]
    listeners = {name: shared(path=f"{folder}/{name}", **rules) for name, rules in {
        "open": {}, "allowed": {"allow": allow}, "denied": {"deny": allow}, "trusted": {"trusted": allow, "limits": {"connections": 1}},
    }.items()}
    daemon = usherd(listeners, start_options={"wrapper": ["unshare", "--pid", "--fork", "--kill-child=KILL"]})
    # unshare waits for the daemon and passes no signals on
    with open(f"/proc/{daemon.pid}/task/{daemon.pid}/children", encoding="ascii") as children:
        daemon.pid = int(children.read())
    daemon.signal = lambda number: os.kill(daemon.pid, number)

    def gets_in(name):
        with connect(f"unix:{folder}/{name}") as sock:
            try:
                return ask(sock) == b"hello"
            except (BrokenPipeError, ConnectionResetError):
                return False

    assert [name for name in listeners if gets_in(name)] == ["open", "trusted"]
    daemon.wait_closed(listener="trusted")
    with connect(f"unix:{folder}/trusted") as sock:
        assert ask(sock) == b"hello"
        assert not gets_in("trusted"), "it is not trusted"
    daemon.stop()
    assert daemon.refused("not_allowed", "unix", "allowed") == 1
    assert daemon.refused("denied", "unix", "denied") == 1, "where it might be meant it is refused"
    assert daemon.refused("limit_connections", "unix", "trusted") == 1
