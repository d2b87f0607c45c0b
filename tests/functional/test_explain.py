# SPDX-License-Identifier: MIT
"""usherd --explain: the verdict, and each rule that led to it, as the daemon itself would decide."""
import os
import pathlib
import pwd
import re
import time

import pytest

from certificates import tls
from harness import IS_ROOT, ask, config, ended, listener, run, visit

CONF = """\
user = "nobody";
door: {
  deny = [ "192.0.2.0/24",
           "file:bad.txt" ];
  limits: { connections = 1000; };
  ban: { for = "1h"; };
};
listeners: {
  db: {
    listen = [ "127.0.0.1:0", "unix:@usher-explain" ];
    allow = [ "10.0.0.0/8",
              "2001:db8::/32", "uid:65534",
              "unit:backup.service" ];
    trusted = "10.9.0.0/16";
    limits: { per_source = 50;
              rate_per_source = "20/s burst 40"; };
    echo: {};
  };
  free: { listen = "127.0.0.1:0"; echo: {}; };
};
"""


@pytest.fixture(name="place")
def _place(folder):
    path = pathlib.Path(folder)
    (path / "bad.txt").write_text("# those\n10.66.0.0/16 # this one\n")
    return path


def explain(place, *args, text=CONF, env=None):
    """(exit code, lines, errors); the configuration is called FILE."""
    code, out, err = run("--explain", *args, text=text, folder=place, env=env)
    return code, out.replace(str(place / "usherd.conf"), "FILE").splitlines(), err


PASSES_DENY = ["FILE:3: door.deny: does not have the client", "default: door.allow: is empty: it lets everybody in"]
TO_THE_END = [
    "FILE:14: listeners.db.trusted: does not have the client",
    "FILE:5: door.limits.connections = 1000: 0 of 1000 are open",
    "FILE:15: listeners.db.limits.per_source = 50: 0 of 50 are open",
    "FILE:16: listeners.db.limits.rate_per_source = 20/s burst 40: the bucket has enough",
]


@pytest.mark.parametrize("source", ["10.1.2.3", "::ffff:10.1.2.3"])
def test_let_in(place, source):
    """A mapped address is the IPv4 one."""
    code, out, _ = explain(place, "db", source)
    assert code == 0
    assert out == PASSES_DENY + ["FILE:11: listeners.db.allow: has the client: 10.0.0.0/8"] + TO_THE_END + [
        "db 10.1.2.3: let in"]


def test_denied(place):
    code, out, _ = explain(place, "db", "192.0.2.9")
    assert code == 1
    assert out == ["FILE:3: door.deny: has the client: 192.0.2.0/24",
                   "db 192.0.2.9: refused: a deny list has the client (denied)"]


def test_denied_by_a_file(place):
    code, out, _ = explain(place, "db", "10.66.1.1")
    assert code == 1
    assert out == ["FILE:4: door.deny: has the client: file:bad.txt", "bad.txt:2: 10.66.0.0/16",
                   "db 10.66.1.1: refused: a deny list has the client (denied)"]


def test_not_allowed(place):
    code, out, _ = explain(place, "db", "2001:db9::1")
    assert code == 1
    assert out == PASSES_DENY + ["FILE:11: listeners.db.allow: does not have the client",
                                 "db 2001:db9::1: refused: no allow list has the client (not_allowed)"]


def test_trusted(place):
    code, out, _ = explain(place, "db", "10.9.1.1")
    assert code == 0
    assert out[3:] == ["FILE:14: listeners.db.trusted: has the client: 10.9.0.0/16",
                       "db 10.9.1.1: let in: it is trusted, so that no limit, ban or overload counts for it"]


def test_defaults_are_said_to_be_such(place):
    code, out, _ = explain(place, "free", "::1")
    assert code == 0
    assert out == PASSES_DENY + ["default: listeners.free.allow: is empty: it lets everybody in",
                                 "FILE:5: door.limits.connections = 1000: 0 of 1000 are open", "free ::1: let in"]


def test_a_zone(place):
    code, out, _ = explain(place, "free", "fe80::1%lo")
    assert (code, out[-1]) == (0, "free fe80::1%lo: let in")


@pytest.mark.parametrize("args, line, verdict", [
    ((), "FILE:11: listeners.db.allow: does not have the client",
     "unix without credentials: refused: no allow list has the client (not_allowed)"),
    (("--uid", "65534", "--gid", "1"), "FILE:12: listeners.db.allow: has the client: uid:65534",
     "unix uid 65534: let in"),
    (("--uid", "4000000", "--gid", "1"), "FILE:11: listeners.db.allow: does not have the client",
     "unix uid 4000000: refused: no allow list has the client (not_allowed)"),
    (("--uid", "0", "--unit", "backup.service"), "FILE:13: listeners.db.allow: has the client: unit:backup.service",
     "unix uid 0: let in"),
    (("--uid", "0", "--unit", "other.service"), "FILE:11: listeners.db.allow: does not have the client",
     "unix uid 0: refused: no allow list has the client (not_allowed)"),
])
def test_unix_peers(place, args, line, verdict):
    code, out, _ = explain(place, "db", "unix", *args)
    assert (code, out[2], out[-1]) == (int("refused" in verdict), line, f"db {verdict}")


def test_groups_are_those_of_the_user(place):
    me = pwd.getpwuid(os.geteuid())
    text = config({"db": listener("echo", "unix:@usher-explain", allow=[f"gid:{me.pw_gid}"])})
    assert explain(place, "db", "unix", "--uid", me.pw_name, text=text)[0] == 0
    # --gid takes the place of the primary one
    others = [g for g in range(60000, 60300) if g not in os.getgrouplist(me.pw_name, me.pw_gid)]
    text = config({"db": listener("echo", "unix:@usher-explain", allow=[f"gid:{others[0]}"])})
    assert explain(place, "db", "unix", "--uid", me.pw_name, text=text)[0] == 1
    assert explain(place, "db", "unix", "--uid", me.pw_name, "--gid", str(others[0]), text=text)[0] == 0


def test_saved_bans(place):
    """Those of state_directory, or of systemd's folder; without either that is said."""
    until = int(time.time()) + 3000
    (place / "bans").write_text(f"usher-bans 1 {until - 3000}\n* 10.1.2.3 {until} 1\ndb 10.1.2.4 {until} 1\n")
    code, out, err = explain(place, "db", "10.1.2.3", env={"STATE_DIRECTORY": str(place)})
    assert (code, err) == (1, "")
    assert re.fullmatch(r"FILE:6: door\.ban: for another \d{3,4} s", out[-2])
    assert out[-1] == "db 10.1.2.3: refused: its source is banned (banned)"
    assert explain(place, "db", "10.1.2.4", env={"STATE_DIRECTORY": str(place)})[0] == 0, "db bans nobody"
    text = f'state_directory = "{place}";\n' + CONF
    assert explain(place, "db", "10.1.2.3", text=text)[0] == 1
    env = {name: value for name, value in os.environ.items() if name != "STATE_DIRECTORY"}
    code, _, err = explain(place, "db", "10.1.2.3", env={**env, "STATE_DIRECTORY": ""})
    assert code == 0
    assert "bans are not looked at" in err and "state_directory" in err
    (place / "bans").write_text("what is this?\n")
    code, _, err = explain(place, "db", "10.1.2.3", text=text)
    assert code == 0 and f"{place}/bans: " in err


def test_it_is_what_the_daemon_does(usherd, place):
    """For each of some clients: what is said beforehand is what happens."""
    text = config({"web": listener("echo", allow=["127.0.0.0/29", "127.0.1.1"], deny=["127.0.0.3"])},
                  door={"deny": ["127.0.0.5-127.0.0.6"]})
    daemon = usherd(text=text)
    for last in ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6", "0.7", "0.8", "1.1"):
        source = f"127.0.{last}"
        code, out, _ = run("--config", str(daemon.path), "--explain", "web", source)
        sock = visit(daemon.address("web"), source=(source, 0))
        if code == 0:
            assert ask(sock) == b"hello", out
            sock.close()
        else:
            assert code == 1 and ended(sock) == "reset", out
            reason = out.splitlines()[-1].split("refused: ")[1]
            daemon.wait_log(rf"^web: refused 1 connection of {re.escape(source)}: {re.escape(reason)}$")


def test_the_certificate(ca, place):
    first = ca.issue("first", dns=["first.test"])
    wild = ca.issue("wild", dns=["*.example"])
    text = config({"web": listener("echo", tls=tls(first, wild)), "none": listener("echo", deny=["::1"])})
    for name, file in (("www.example", wild), ("WWW.Example.", wild), ("first.test", first), ("?", first)):
        code, out, _ = explain(place, "web", "::1", "--sni", name, text=text)
        assert code == 0
        assert [line.split(" (")[0] for line in out if line.startswith("certificate")] == [
            f"certificate {file.cert}"]
    code, out, err = explain(place, "none", "::1", "--sni", "x", text=text)
    assert (code, out) == (64, []) and "has no tls" in err
    # without a question about it no certificate is needed
    text = config({"web": listener("echo", tls={"certificate": "none.pem"})})
    code, out, _ = explain(place, "web", "::1", text=text)
    assert code == 0
    assert "default: listeners.web.limits.handshakes = 10000: 0 of 10000 are under way" in out
    code, out, err = explain(place, "web", "::1", "--sni", "x", text=text)
    assert (code, out) == (2, []) and "none.pem" in err


@pytest.mark.parametrize("args, why", [
    ((), "name a listener and a source"),
    (("db",), "name a listener and a source"),
    (("db", "10.1.2.3", "more"), "unexpected argument: more"),
    (("nix", "10.1.2.3"), 'there is no listener "nix"'),
    (("db", "10.1.2"), '"10.1.2" is no address'),
    (("db", "fe80::1%nix"), "no such interface"),
    (("db", "10.1.2.3", "--uid", "1"), 'are for the source "unix"'),
    (("free", "unix"), "listener free has no UNIX socket"),
    (("db", "unix", "--gid", "1"), "--gid goes with --uid"),
    (("db", "unix", "--unit", "x.service"), "--unit goes with --uid"),
    (("db", "unix", "--uid", "no-such-user"), 'there is no user "no-such-user"'),
    (("db", "unix", "--uid", "0", "--gid", "no-such-group"), 'there is no group "no-such-group"'),
    (("db", "unix", "--uid", "4000000"), "--gid is needed too"),
])
def test_wrong_usage(place, args, why):
    code, out, err = explain(place, *args)
    assert (code, out) == (64, [])
    assert why in err


def test_a_client_that_cannot_come(place):
    """Of a listener that has only UNIX sockets, or TCP ones; those that systemd passes may be either."""
    text = config({"local": listener("echo", "unix:@usher-explain"), "passed": listener("echo", "systemd:any")})
    code, out, err = explain(place, "local", "10.1.2.3", text=text)
    assert (code, out) == (64, [])
    assert "listener local has UNIX sockets alone" in err
    assert explain(place, "local", "unix", "--uid", "0", text=text)[0] == 0
    for source in ("10.1.2.3", "unix"):
        assert explain(place, "passed", source, text=text)[0] == 0


def test_wrong_configuration(place):
    for text in (CONF.replace("allow", "alow"), CONF.replace("bad.txt", "worse.txt"), CONF.replace("uid:65534", "user:nobdy")):
        code, out, err = explain(place, "db", "10.1.2.3", text=text)
        assert (code, out) == (2, [])
        assert "FILE:" in err.replace(str(place / "usherd.conf"), "FILE")


def test_options_of_it_alone(place):
    for args in (("--uid", "1"), ("--check", "--sni", "x")):
        code, out, err = run(*args, text=CONF, folder=place)
        assert (code, out) == (2, "") and "go with --explain" in err


@pytest.mark.skipif(IS_ROOT, reason="root may read everything")
def test_bans_that_cannot_be_read(place):
    (place / "bans").write_text("usher-bans 1 1\n")
    (place / "bans").chmod(0)
    code, _, err = explain(place, "db", "10.1.2.3", env={"STATE_DIRECTORY": str(place)})
    assert code == 0 and "Permission denied" in err
