# SPDX-License-Identifier: MIT
"""Certificates that change while usherd runs: nobody reloads, nobody is turned away."""
import os
import re
import shutil
import threading

import pytest

from certificates import key_pem, make_key, tls, write
from harness import SLOW, ask, config, listener, wait_until
from tls_peer import client_context, tls_connect, verdict


def shown(daemon, ca, name=None):
    """The certificate that a new client gets; it is served, too."""
    with tls_connect(daemon.address("web"), ca=ca, name=name) as sock:
        assert ask(sock) == b"hello"
        return sock.peer_der


def wait_shown(daemon, ca, certificate, name=None):
    wait_until(lambda: shown(daemon, ca, name) == certificate.der, "the new certificate to be shown")


def in_place(old, new):
    """As cp does: the files keep their inodes, and for a moment do not match."""
    write(old.cert, new.pem, 0o644)
    write(old.key, new.key_pem, 0o600)


def by_rename(old, new):
    for source, target in ((new.key, old.key), (new.cert, old.cert)):
        shutil.copy2(source, f"{target}.new")
        shutil.chown(f"{target}.new", os.stat(source).st_uid)
        os.rename(f"{target}.new", target)


def removed_first(old, new):
    """As an editor or a sloppy script does."""
    os.unlink(old.cert)
    os.unlink(old.key)
    write(old.cert, new.pem)
    write(old.key, new.key_pem, 0o600)


@pytest.mark.parametrize("way", [in_place, by_rename, removed_first])
def test_replaced(usherd, ca, way):
    old, new = ca.issue(dns=["www.example"]), ca.issue(dns=["www.example"])
    daemon = usherd({"web": listener("echo", tls=tls(old))})
    stays = tls_connect(daemon.address("web"), ca=ca)
    assert shown(daemon, ca) == old.der
    way(old, new)
    wait_shown(daemon, ca, new)
    assert ask(stays) == b"hello"
    # and again: what is watched is the name, not the inode of the first day
    newest = ca.issue(dns=["www.example"])
    way(old, newest)
    wait_shown(daemon, ca, newest)
    stays.close()
    daemon.stop()


def test_one_file_with_both(usherd, ca):
    old, new = ca.issue(), ca.issue()
    path = old.both
    daemon = usherd({"web": listener("echo", tls={"certificate": [path]})})
    assert shown(daemon, ca) == old.der
    os.rename(new.both, path)
    wait_shown(daemon, ca, new)


def certbot(folder, number, certificate):
    """What certbot leaves of a renewal: archive/NAMEn.pem, and links in live/ that are set anew one by one."""
    archive, live = f"{folder}/letsencrypt/archive/www", f"{folder}/letsencrypt/live/www"
    for path in (archive, live):
        os.makedirs(path, exist_ok=True)
    write(f"{archive}/fullchain{number}.pem", certificate.pem)
    write(f"{archive}/privkey{number}.pem", certificate.key_pem, 0o600)
    for name in ("privkey", "fullchain"):
        link = f"{live}/{name}.pem"
        if os.path.lexists(link):
            os.unlink(link)
        os.symlink(f"../../archive/www/{name}{number}.pem", link)
    return {"certificate": [f"{live}/fullchain.pem"], "key": [f"{live}/privkey.pem"]}


def test_as_certbot_does(usherd, ca, folder):
    of = [ca.issue(dns=["www.example"]) for _ in range(3)]
    group = certbot(folder, 1, of[0])
    daemon = usherd({"web": listener("echo", tls=group)})
    assert shown(daemon, ca) == of[0].der
    for number, certificate in enumerate(of[1:], 2):
        certbot(folder, number, certificate)
        wait_shown(daemon, ca, certificate)
    # a file in the archive that is written anew counts as well
    again = ca.issue(dns=["www.example"])
    write(f"{folder}/letsencrypt/archive/www/privkey3.pem", again.key_pem, 0o600)
    write(f"{folder}/letsencrypt/archive/www/fullchain3.pem", again.pem)
    wait_shown(daemon, ca, again)


def cert_manager(folder, number, certificate):
    """A Kubernetes secret: tls.crt -> ..data/tls.crt, ..data -> a folder that is swapped by one rename."""
    mount = f"{folder}/secret"
    data = f"{mount}/..2026_{number}"
    os.makedirs(data)
    write(f"{data}/tls.crt", certificate.pem)
    write(f"{data}/tls.key", certificate.key_pem, 0o600)
    os.symlink(f"..2026_{number}", f"{mount}/..data_tmp")
    old = os.path.realpath(f"{mount}/..data") if os.path.lexists(f"{mount}/..data") else None
    os.rename(f"{mount}/..data_tmp", f"{mount}/..data")
    for name in ("tls.crt", "tls.key"):
        if not os.path.lexists(f"{mount}/{name}"):
            os.symlink(f"..data/{name}", f"{mount}/{name}")
    if old:
        shutil.rmtree(old)
    return {"certificate": [f"{mount}/tls.crt"], "key": [f"{mount}/tls.key"]}


def test_as_cert_manager_does(usherd, ca, folder):
    of = [ca.issue(dns=["www.example"]) for _ in range(4)]
    group = cert_manager(folder, 1, of[0])
    daemon = usherd({"web": listener("echo", tls=group)})
    assert shown(daemon, ca) == of[0].der
    for number, certificate in enumerate(of[1:], 2):
        cert_manager(folder, number, certificate)
        wait_shown(daemon, ca, certificate)


def test_a_folder_on_the_way_is_swapped(usherd, ca, folder):
    """The link is not the file's own, but a folder's above it."""
    old, new = ca.issue(), ca.issue()
    for number, one in (("1", old), ("2", new)):
        os.makedirs(f"{folder}/release{number}/tls")
        write(f"{folder}/release{number}/tls/both.pem", one.pem + one.key_pem, 0o600)
    os.symlink("release1", f"{folder}/current")
    daemon = usherd({"web": listener("echo", tls={"certificate": [f"{folder}/current/tls/both.pem"]})})
    assert shown(daemon, ca) == old.der
    os.symlink("release2", f"{folder}/next")
    os.rename(f"{folder}/next", f"{folder}/current")
    wait_shown(daemon, ca, new)


def test_only_what_changed_changes(usherd, ca):
    """One of two certificates, one of two listeners."""
    a, b, fresh = ca.issue(dns=["a.example"]), ca.issue(dns=["b.example"]), ca.issue(dns=["a.example"])
    daemon = usherd({"web": listener("echo", tls=tls(a, b)), "other": listener("echo", tls=tls(b))})
    by_rename(a, fresh)
    wait_shown(daemon, ca, fresh, "a.example")
    assert shown(daemon, ca, "b.example") == b.der
    assert tls_connect(daemon.address("other"), ca=ca).peer_der == b.der
    by_rename(b, fresh)
    wait_until(lambda: tls_connect(daemon.address("other"), ca=ca).peer_der == fresh.der)


def test_new_names_come_with_it(usherd, ca):
    first, wide = ca.issue(dns=["first.example"]), ca.issue(dns=["wide.example", "*.wide.example"])
    grown = ca.issue(dns=["wide.example", "new.test"])
    daemon = usherd({"web": listener("echo", tls=tls(first, wide))})
    assert shown(daemon, ca, "x.wide.example") == wide.der and shown(daemon, ca, "new.test") == first.der
    by_rename(wide, grown)
    wait_shown(daemon, ca, grown, "new.test")
    assert shown(daemon, ca, "x.wide.example") == first.der


# ---- what is broken


def spoil_key(one, ca):
    write(one.key, key_pem(make_key()), 0o600)


def spoil_certificate(one, _ca):
    write(one.cert, one.pem[: len(one.pem) // 2])


def empty(one, _ca):
    write(one.cert, b"")


def remove(one, _ca):
    os.unlink(one.cert)


def open_key(one, ca):
    """The new key is everybody's."""
    new = ca.issue()
    write(one.cert, new.pem)
    write(one.key, new.key_pem, 0o644)


@pytest.mark.parametrize("spoil", [spoil_key, spoil_certificate, empty, remove, open_key])
def test_what_is_broken_is_said_and_the_old_stays(usherd, ca, spoil):
    one, good = ca.issue(), ca.issue()
    daemon = usherd({"web": listener("echo", tls=tls(one))})
    since = daemon.mark()
    spoil(one, ca)
    match = daemon.wait_log(rf"{re.escape(one.cert)}|{re.escape(one.key)}", since=since)
    level = next(level for level, message in daemon.lines[since:] if message == match.string)
    assert level in ("warning", "error"), match.string
    assert shown(daemon, ca) == one.der
    # it is not said over and over
    for _ in range(20):
        assert shown(daemon, ca) == one.der
    said = [message for level, message in daemon.lines[since:] if level in ("warning", "error")]
    assert len(said) <= 3, said
    in_place(one, good)
    wait_shown(daemon, ca, good)


def test_a_reload_while_files_are_broken_fails_and_the_old_stays(usherd, ca):
    one, good = ca.issue(), ca.issue()
    text = config({"web": listener("echo", tls=tls(one))})
    daemon = usherd(text=text)
    since = daemon.mark()
    write(one.cert, b"nonsense")
    daemon.wait_log(re.escape(one.cert), since=since)
    assert not daemon.reload(text).ok
    assert shown(daemon, ca) == one.der
    in_place(one, good)
    wait_shown(daemon, ca, good)


def test_renewal_of_what_a_reload_brought(usherd, ca):
    """Watches follow the configuration."""
    first, second, newer = ca.issue(), ca.issue(), ca.issue()
    daemon = usherd({"web": listener("echo")})
    assert daemon.reload(config({"web": listener("echo", tls=tls(first))})).ok
    assert shown(daemon, ca) == first.der
    assert daemon.reload(config({"web": listener("echo", tls=tls(second))})).ok
    fds = daemon.fds_at_rest()
    assert shown(daemon, ca) == second.der
    by_rename(second, newer)
    wait_shown(daemon, ca, newer)
    for _ in range(5):
        assert daemon.reload().ok
    daemon.wait_fds(fds)
    assert daemon.reload(config({"web": listener("echo")})).ok
    assert verdict(daemon.address("web")) != "ok"


def test_expiry_of_what_came(usherd, ca):
    """A new certificate that ends soon is said when it comes."""
    good, soon = ca.issue(), ca.issue(days=(-80, 2))
    daemon = usherd({"web": listener("echo", tls=tls(good))})
    since = daemon.mark()
    by_rename(good, soon)
    daemon.wait_log(rf"{re.escape(good.cert)}.*(expire|ends)", since=since)


# ---- under load


@pytest.mark.parametrize("way", [in_place, by_rename, "certbot", "cert_manager"])
def test_no_connection_fails_while_files_change(usherd, ca, folder, way):
    """Clients come all the time, the files are replaced many times; each client is served with one of them."""
    count = 20 if SLOW == 1 else 8
    of = [ca.issue(dns=["www.example"]) for _ in range(count)]
    first = ca.issue(dns=["www.example"])
    swap = {"certbot": certbot, "cert_manager": cert_manager}.get(way)
    group = swap(folder, 1, first) if swap else tls(first)
    daemon = usherd({"web": listener("echo", tls=group)})
    seen, problems, done = [], [], threading.Event()
    context = client_context(ca=ca)
    session_context = client_context(ca=ca)

    def visits(resume):
        session = None
        while not done.is_set():
            try:
                with tls_connect(daemon.address("web"), session_context if resume else context, session=session) as sock:
                    assert ask(sock) == b"hello"
                    if resume:
                        session = sock.session
                    seen.append(sock.peer_der)
            except Exception as problem:  # pylint: disable=broad-except
                problems.append(repr(problem))
                return

    threads = [threading.Thread(target=visits, args=(resume,)) for resume in (False, False, True)]
    for thread in threads:
        thread.start()
    for number, certificate in enumerate(of, 2):
        before = len(seen)
        if swap:
            swap(folder, number, certificate)
        else:
            way(first, certificate)
        wait_until(lambda before=before: len(seen) >= before + 5 or problems, "visits to go on")
    last = of[-1].der
    wait_until(lambda: shown(daemon, ca) == last or problems, "the last one to be shown")
    done.set()
    for thread in threads:
        thread.join()
    assert not problems, problems
    assert len(set(seen)) >= 2, "the test replaced nothing"
    assert not [r for r in daemon.close_records() if r.reason not in ("client_closed",)], daemon.tail()
