# SPDX-License-Identifier: MIT
"""The journal: fields, the catalog, namespaces, and a journald that goes away."""
import re
import time

import harness
from harness import listener, wait_until
from usher import SERVICE

ECHO = "127.0.0.1:7001"
CLOSED = "MESSAGE_ID=06a060f10d264167b0354111a570285b"
LOST = "MESSAGE_ID=4d734d95b0764930b4941caca5ac9e74"
JOURNALD = ("systemd-journald.socket", "systemd-journald-dev-log.socket", "systemd-journald-audit.socket", "systemd-journald.service")


def test_a_close_record_has_fields(usher):
    usher.restart({"web": listener("echo", ECHO), "other": listener("echo", "127.0.0.1:7002")})
    m = usher.machine
    with m.connect(ECHO) as sock:
        harness.ask(sock)
        peer = "%s:%d" % sock.getsockname()
    usher.ask("127.0.0.1:7002")
    m.wait_journal(CLOSED, count=2)
    # the line that the manual tells people to use
    (record,) = m.journal("-u", "usherd", "USHER_LISTENER=web", CLOSED)
    assert record["USHER_PEER"] == peer
    assert record["USHER_REASON"] == "client_closed"
    assert (record["USHER_BYTES_IN"], record["USHER_BYTES_OUT"]) == ("5", "5")
    assert int(record["USHER_DURATION_MS"]) >= 0
    assert int(record["USHER_CONNECTION"]) > 0
    assert record["USHER_ERROR"] == "0"
    assert record["PRIORITY"] == "6"
    assert record["SYSLOG_IDENTIFIER"] == "usherd"
    assert record["_SYSTEMD_UNIT"] == SERVICE


def test_every_record_of_the_daemon_has_a_kind(usher):
    """Which the catalog explains: what it means and what to do."""
    m = usher.machine
    usher.restart({"web": listener("echo", ECHO)})
    usher.ask(ECHO)
    usher.configure({"web": listener("echo", ECHO, backlogg=3)})
    m.systemctl("reload", SERVICE, check=False)
    m.kill(usher.pid, "HUP")
    m.wait_journal("MESSAGE_ID=074912ab62c1429b860d158658217813")
    usher.restart({"web": listener("echo", ECHO)})
    m.wait_journal(CLOSED)
    kinds = {r["MESSAGE_ID"] for r in m.journal("-u", SERVICE, f"_PID={usher.pid}") + m.journal("SYSLOG_IDENTIFIER=usherd", CLOSED)}
    assert len(kinds) >= 3
    for kind in kinds:
        text = m.out("journalctl", "--dump-catalog", kind)
        assert "Subject:" in text and len(text.splitlines()) >= 4, text
    explained = m.journal_text("-x", CLOSED)
    assert re.search(r"(?s)Subject: .*man:usherd\(8\).*listener web", explained), explained


def test_the_whole_catalog_is_there(usher):
    """One entry for each kind of record that the source knows."""
    source = (harness.TOP / "src/report/log_kinds.def").read_text(encoding="ascii")
    ids = re.findall(r'LOG_KIND\(\w+, "([0-9a-f]{32})"', source)
    listed = usher.machine.out("journalctl", "--list-catalog")
    missing = [i for i in ids if i not in listed]
    assert ids and not missing, missing


def test_journald_stopped_and_started_while_records_flow(usher):
    """Nothing waits for it; what could not be told is counted and told later."""
    usher.restart({"web": listener("echo", ECHO)})
    m = usher.machine
    before = usher.pid
    with usher.load(ECHO) as load:
        load.wait_for(20)
        m.systemctl("stop", *JOURNALD)
        try:
            # more than its queue holds would block whoever waited for room
            load.wait_for(6000)
            assert usher.active == "active"
        finally:
            m.systemctl("start", *JOURNALD)
        load.wait_for(20)
        m.wait_journal(LOST)
    assert usher.pid == before
    (lost, *_) = m.journal(LOST)
    assert "lost" in lost["MESSAGE"] and int(lost["USHER_COUNT"]) > 0, lost
    # and records come again
    now = time.time()
    usher.ask(ECHO)
    wait_until(lambda: m.out("journalctl", "-q", f"--since=@{now:.6f}", CLOSED), "a record after all that")


def test_journald_restarted_while_records_flow(usher):
    usher.restart({"web": listener("echo", ECHO)})
    before = usher.pid
    with usher.load(ECHO) as load:
        for _ in range(3):
            load.wait_for(20)
            usher.machine.systemctl("restart", "systemd-journald.service")
        load.wait_for(20)
    assert usher.pid == before
    now = time.time()
    usher.ask(ECHO)
    wait_until(lambda: usher.machine.out("journalctl", "-q", f"--since=@{now:.6f}", CLOSED), "a record after all that")


def test_a_journal_namespace(usher):
    """LogNamespace= puts its records, fields and all, into a journal of their own."""
    usher.drop_in("[Service]\nLogNamespace=doors\n")
    m = usher.machine
    usher.undo.callback(m.systemctl, "stop", "systemd-journald@doors.socket", "systemd-journald@doors.service", check=False)
    usher.restart({"web": listener("echo", ECHO)})
    usher.ask(ECHO)
    wait_until(lambda: m.out("journalctl", "-q", "--namespace=doors", CLOSED, "USHER_LISTENER=web"), "the record in the namespace")
    assert not m.journal(CLOSED)
