# SPDX-License-Identifier: MIT
"""Listening sockets in the service manager's store: a restart refuses nobody."""
import os
import re
import signal
import socket
import struct
import threading

import pytest

from harness import SLOW, TIMEOUT, ask, config, connect, free_port, listener, read_all, run, wait_until

SO_COOKIE = 57
PREFIX = "usherd-stored-"


def stored_name(sock, path=None):
    """The name under which usherd stores a socket."""
    (cookie,) = struct.unpack("Q", sock.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
    name = f"{PREFIX}{cookie:016x}"
    if path:
        found = os.stat(path)
        name += f"-{found.st_dev:x}-{found.st_ino:x}"
    return name


def inode(sock):
    return os.fstat(sock.fileno()).st_ino


class Life:
    """The lives of one daemon under one manager."""

    def __init__(self, usherd, manager, listeners, **top):
        self.usherd, self.manager, self.listeners, self.top = usherd, manager, listeners, top
        self.daemon = None

    def start(self, listeners=None, count=None, **options):
        """`count`: how many sockets are in the store then."""
        self.listeners = self.listeners if listeners is None else listeners
        before = self.manager.count("READY")
        self.daemon = self.usherd(self.listeners, start_options=self.manager.start_options(**options), **self.top)
        self.manager.wait("READY", count=before + 1)
        if count is not None:
            self.manager.wait_stored(count)
        return self.daemon

    def kept(self):
        """The addresses of sockets that were kept from before."""
        found = (re.search(r"^listening on (\S+) .*, kept from before", line) for line in self.daemon.log)
        return {match.group(1) for match in found if match}


@pytest.fixture
def life(usherd, manager):
    return lambda listeners, **top: Life(usherd, manager, listeners, **top)


def test_all_kinds_are_found_again(life, manager, folder):
    """While nobody runs, clients wait, and are served by the next one."""
    os.chmod(folder, 0o777)
    port, any_port, six = free_port(), free_port(), free_port("::1")
    where = [f"127.0.0.1:{port}", f"*:{any_port}", f"[::1]:{six}", f"unix:{folder}/a.sock", f"unix:@usher-store-{os.getpid()}"]
    places = [("127.0.0.1", port), ("127.0.0.1", any_port), ("::1", any_port), ("::1", six), f"unix:{folder}/a.sock",
              f"unix:@usher-store-{os.getpid()}"]
    lives = life({"web": listener("echo", *where)})
    lives.start(count=6)
    before = {inode(sock) for sock in manager.sockets()}
    assert not manager.polled
    for _ in range(3):
        lives.daemon.stop()
        waiting = [connect(place) for place in places]
        for sock in waiting:
            sock.sendall(b"early")
        lives.start(count=6)
        assert len(lives.kept()) == 6
        for sock in waiting:
            assert read_all(sock, 5) == b"early"
            sock.close()
        assert {inode(sock) for sock in manager.sockets()} == before
        assert manager.count("FDSTORE") == 6, "stored once"


def test_found_by_address_not_by_name(life):
    port = free_port()
    lives = life({"web": listener("echo", f"127.0.0.1:{port}")})
    lives.start(count=1)
    lives.daemon.stop()
    lives.start({"other": listener("daytime", f"127.0.0.1:{port}")}, count=1)
    assert lives.kept() == {f"127.0.0.1:{port}"}
    assert read_all(lives.daemon.connect("other"))


class Load:
    """Clients that come all the time, and count what goes wrong."""

    def __init__(self, places, threads=4):
        self.served = 0
        self.failures = []
        self.running = True
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(places, i), daemon=True) for i in range(threads)]
        for thread in self.threads:
            thread.start()

    def _run(self, places, number):
        while self.running:
            number += 1
            try:
                with connect(places[number % len(places)], timeout=4 * TIMEOUT) as sock:
                    answer = ask(sock)
                failure = None if answer == b"hello" else f"answered {answer!r}"
            except OSError as error:
                failure = repr(error)
            with self.lock:
                self.served += 1
                if failure:
                    self.failures.append(failure)

    def wait_served(self, more):
        aim = self.served + more
        wait_until(lambda: self.served >= aim, "clients to be served")

    def stop(self):
        self.running = False
        for thread in self.threads:
            thread.join(5 * TIMEOUT)


@pytest.mark.heavy
def test_restarts_under_load(life, manager, folder):
    """Twenty restarts: all who connect are served. Nobody is refused, cut, or left alone."""
    os.chmod(folder, 0o777)
    port = free_port()
    places = [("127.0.0.1", port), f"unix:{folder}/load.sock"]
    lives = life({"web": listener("echo", f"127.0.0.1:{port}", f"unix:{folder}/load.sock")})
    lives.start(count=2)
    load = Load(places)
    try:
        for _ in range(20):
            load.wait_served(20)
            lives.daemon.signal(signal.SIGTERM)
            assert lives.daemon.wait_exit() == 0
            lives.start(count=2)
        load.wait_served(20)
    finally:
        load.stop()
    assert not load.failures, load.failures[:5]
    assert len(lives.kept()) == 2


@pytest.mark.heavy
def test_kills_under_load(life):
    """Who was in is cut, but nobody is refused."""
    port = free_port()
    lives = life({"web": listener("echo", f"127.0.0.1:{port}")})
    lives.start(count=1)
    load = Load([("127.0.0.1", port)])
    try:
        for _ in range(10):
            load.wait_served(20)
            lives.daemon.kill()
            lives.start(count=1)
        load.wait_served(20)
    finally:
        load.stop()
    assert not [failure for failure in load.failures if "Refused" in failure]


def test_who_waits_in_the_backlog_is_left_to_the_next(life):
    """A stop takes nobody in only to cut him: who is not accepted yet waits."""
    port = free_port()
    lives = life({"web": listener("echo", f"127.0.0.1:{port}")}, drain_timeout="0s")
    lives.start(count=1)
    lives.daemon.signal(signal.SIGSTOP)
    socks = [connect(("127.0.0.1", port)) for _ in range(200)]
    lives.daemon.signal(signal.SIGTERM)
    lives.daemon.signal(signal.SIGCONT)
    assert lives.daemon.wait_exit() == 0
    # those whom it accepted in the turn in which the signal came are cut; one turn takes 64
    cut = len(lives.daemon.close_records(reason="drain"))
    lives.start(count=1)
    served = 0
    for sock in socks:
        try:
            served += ask(sock) == b"hello"
        except (ConnectionResetError, BrokenPipeError):
            pass
        sock.close()
    assert served == 200 - cut and served >= 50


def test_backlog_stays_while_connections_finish(life):
    port = free_port()
    lives = life({"web": listener("echo", f"127.0.0.1:{port}")}, drain_timeout="1h")
    lives.start(count=1)
    old = lives.daemon.connect("web")
    assert ask(old) == b"hello"
    lives.daemon.signal(signal.SIGTERM)
    lives.daemon.wait_log("^stopping: 1 connection")
    new = connect(("127.0.0.1", port))
    new.sendall(b"early")
    assert ask(old) == b"hello"
    old.close()
    assert lives.daemon.wait_exit() == 0
    lives.start(count=1)
    assert read_all(new, 5) == b"early"
    new.close()


# ---- what is stored, and what is not


def test_reload_adds_and_removes(life, manager):
    first, second = free_port(), free_port()
    lives = life({"web": listener("echo", f"127.0.0.1:{first}")})
    daemon = lives.start(count=1)
    both = {"web": listener("echo", f"127.0.0.1:{first}"), "more": listener("echo", f"127.0.0.1:{second}")}
    assert daemon.reload(config(both)).ok
    manager.wait_stored(2)
    assert daemon.reload(config({"more": both["more"]})).ok
    manager.wait_stored(1)
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", first))
    assert ask(connect(("127.0.0.1", second))) == b"hello"
    daemon.stop()
    lives.start({"more": both["more"]}, count=1)
    assert lives.kept() == {f"127.0.0.1:{second}"}


def test_removed_socket_refuses_though_the_manager_has_it(life, manager):
    """The manager may be slow to close its copy: nobody is to wait in the backlog of that."""
    first, second = free_port(), free_port()
    both = {"web": listener("echo", f"127.0.0.1:{first}"), "more": listener("echo", f"127.0.0.1:{second}")}
    lives = life(both)
    daemon = lives.start(count=2)
    manager.running.clear()
    daemon.path.write_text(config({"more": both["more"]}))
    daemon.signal(signal.SIGHUP)
    daemon.wait_log("no longer listening")

    def is_refused():
        try:
            connect(("127.0.0.1", first)).close()
        except ConnectionRefusedError:
            return True
        return False

    wait_until(is_refused, "the socket to be closed")
    manager.running.set()
    manager.wait_stored(1)


def test_removed_unix_socket_loses_its_file(life, manager, folder):
    os.chmod(folder, 0o777)
    port = free_port()
    lives = life({"web": listener("echo", f"127.0.0.1:{port}", f"unix:{folder}/a.sock")})
    daemon = lives.start(count=2)
    assert daemon.reload(config({"web": listener("echo", f"127.0.0.1:{port}")})).ok
    manager.wait_stored(1)
    assert not os.path.exists(f"{folder}/a.sock")


def test_what_is_gone_from_the_configuration_at_the_start(life, manager, folder):
    os.chmod(folder, 0o777)
    first, second = free_port(), free_port()
    unix = [f"unix:{folder}/a.sock", f"unix:{folder}/b.sock"]
    lives = life({"web": listener("echo", f"127.0.0.1:{first}", f"127.0.0.1:{second}", *unix)})
    lives.start(count=4)
    lives.daemon.stop()
    waiting = connect(("127.0.0.1", second))
    os.unlink(f"{folder}/b.sock")
    with open(f"{folder}/b.sock", "w", encoding="ascii") as other:
        other.write("somebody's")
    lives.start({"web": listener("echo", f"127.0.0.1:{first}")}, count=1)
    assert not os.path.exists(f"{folder}/a.sock")
    assert os.path.exists(f"{folder}/b.sock")
    assert "no longer listening on 127.0.0.1:%d" % second in lives.daemon.text()
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", second))
    with pytest.raises(ConnectionResetError):
        waiting.recv(1)
    waiting.close()


@pytest.mark.parametrize("reuse", [True, False])
def test_another_address_at_the_same_port(life, reuse):
    """What is stored is not in the way of what the configuration has now: at a start, and at a reload."""
    port = free_port()
    one = {"web": listener("echo", f"127.0.0.1:{port}", reuse_address=reuse)}
    every = {"web": listener("echo", f"*:{port}", reuse_address=reuse)}
    lives = life(one)
    lives.start(count=1)
    lives.daemon.stop()
    daemon = lives.start(every, count=2)
    assert not lives.kept()
    assert ask(connect(("127.0.0.1", port))) == b"hello"
    if reuse:  # else the connection that is over is in the way of the new socket
        assert daemon.reload(config(one)).ok
        lives.manager.wait_stored(1)
        assert daemon.reload(config(every)).ok
        lives.manager.wait_stored(2)
        assert ask(connect(("127.0.0.1", port))) == b"hello"


@pytest.mark.parametrize("reuse", [True, False])
def test_reload_that_fails_after_sockets_made_way(life, manager, reuse):
    """They listen again, and are stored again."""
    port = free_port()
    one = {"web": listener("echo", f"127.0.0.1:{port}", reuse_address=reuse)}
    lives = life(one)
    daemon = lives.start(count=1)
    with socket.socket() as taken:
        # what is in the way of the new socket too, and is not usher's
        taken.bind(("127.0.0.2", port))
        taken.listen()
        assert not daemon.reload(config({"web": listener("echo", f"0.0.0.0:{port}", reuse_address=reuse)})).ok
    wait_until(lambda: manager.count("FDSTORE") == 2, "the socket to be stored again")
    manager.wait_stored(1)
    assert ask(connect(("127.0.0.1", port))) == b"hello"
    daemon.stop()
    lives.start(one, count=1)
    assert lives.kept() == {f"127.0.0.1:{port}"}


def test_any_free_port_is_not_stored(life, manager):
    lives = life({"web": listener("echo", "127.0.0.1:0", "*:0"), "fixed": listener("echo", f"127.0.0.1:{free_port()}")})
    lives.start(count=1)
    lives.daemon.stop()
    lives.start(count=1)
    assert manager.count("FDSTORE") == 1


@pytest.mark.parametrize("size", ["0", "", "-1", "many", "99999999999999999999"])
def test_without_a_store(usherd, manager, folder, size):
    """A manager that keeps nothing: a stop takes in who waits, and removes its files."""
    os.chmod(folder, 0o777)
    where = f"unix:{folder}/a.sock"
    daemon = usherd({"web": listener("echo", where)}, start_options=manager.start_options(env={"FDSTORE": size}))
    assert ask(connect(where)) == b"hello"
    daemon.stop()
    assert manager.count("FDSTORE") == 0
    assert not os.path.exists(f"{folder}/a.sock")


def test_without_a_manager(usherd, folder):
    os.chmod(folder, 0o777)
    where = f"unix:{folder}/a.sock"
    daemon = usherd({"web": listener("echo", where)}, start_options={"env": {"FDSTORE": "1024"}})
    assert ask(connect(where)) == b"hello"
    daemon.stop()
    assert not os.path.exists(f"{folder}/a.sock")


def test_more_than_the_store_takes(life, manager, folder):
    """The rest is as without a store, and that is said once."""
    os.chmod(folder, 0o777)
    manager.size = 2
    where = [f"unix:{folder}/{i}.sock" for i in range(4)]
    lives = life({"web": listener("echo", *where)})
    lives.start(count=2)
    assert sum("raise FileDescriptorStoreMax=" in line for line in lives.daemon.log) == 1
    lives.daemon.stop()
    assert [os.path.exists(f"{folder}/{i}.sock") for i in range(4)] == [True, True, False, False]
    lives.start(count=2)
    assert lives.kept() == {f"unix:{folder}/{i}.sock" for i in range(2)}
    assert all(ask(connect(place)) == b"hello" for place in where)


def test_beside_sockets_of_a_socket_unit(life, manager):
    """Both come at once and are told apart; those of the unit are never stored."""
    port = free_port()
    lives = life({"own": listener("echo", f"127.0.0.1:{port}"), "web": listener("daytime", "systemd:web")})
    with socket.create_server(("127.0.0.1", 0)) as web:
        lives.start(count=1, passed=[("web", web)])
        lives.daemon.stop()
        lives.start(count=1, passed=[("web", web)])
        assert lives.kept() == {f"127.0.0.1:{port}"}
        assert ask(connect(("127.0.0.1", port))) == b"hello"
        assert read_all(connect(web.getsockname())).endswith(b"\r\n")
        # the address is the unit's now, and is not stored
        lives.daemon.stop()
        lives.start({"web": listener("daytime", "systemd:web")}, count=0, passed=[("web", web)])
    assert manager.count("FDSTORE") == 1


# ---- what a socket is set to


def test_options_count_for_a_kept_socket(life, manager):
    port = free_port()
    lives = life({"web": listener("echo", f"127.0.0.1:{port}", keepalive={"enabled": False}, nodelay=True)})
    lives.start(count=1)
    (sock,) = manager.sockets()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 0
    lives.daemon.stop()
    lives.start({"web": listener("echo", f"127.0.0.1:{port}", keepalive={"enabled": True, "idle": "77s"}, nodelay=False,
                                 receive_buffer="64KiB", reuse_address=False, defer_accept="3s")}, count=1)
    assert lives.kept()
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 77
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 2 * 65536
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR) == 0
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0
    # a size that was set cannot be taken back: then it is another socket
    lives.daemon.stop()
    lives.start({"web": listener("echo", f"127.0.0.1:{port}")}, count=1)
    assert not lives.kept()
    assert inode(manager.sockets()[0]) != inode(sock)
    assert ask(connect(("127.0.0.1", port))) == b"hello"
    sock.close()


def test_mode_counts_for_a_kept_file(life, folder):
    os.chmod(folder, 0o777)
    where = f"unix:{folder}/a.sock"
    lives = life({"web": listener("echo", where, unix={"mode": "0600"})})
    lives.start(count=1)
    lives.daemon.stop()
    before = os.stat(f"{folder}/a.sock")
    lives.start({"web": listener("echo", where, unix={"mode": "0666"})}, count=1)
    after = os.stat(f"{folder}/a.sock")
    assert (before.st_mode & 0o777, after.st_mode & 0o777) == (0o600, 0o666)
    assert before.st_ino == after.st_ino and lives.kept() == {where}


# ---- UNIX files


def test_a_file_that_is_gone_is_made_anew(life, manager, folder):
    os.chmod(folder, 0o777)
    lives = life({"web": listener("echo", f"unix:{folder}/a.sock")})
    lives.start(count=1)
    lives.daemon.stop()
    os.unlink(f"{folder}/a.sock")
    lives.start(count=1)
    assert not lives.kept()
    assert ask(connect(f"unix:{folder}/a.sock")) == b"hello"


def test_a_file_that_somebody_replaced(life, manager, folder):
    """The socket whose file it was is useless; whoever listens there is not pushed away."""
    os.chmod(folder, 0o777)
    path = f"{folder}/a.sock"
    lives = life({"web": listener("echo", f"unix:{path}")})
    lives.start(count=1)
    lives.daemon.stop()
    os.unlink(path)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(path)
        other.listen()
        options = manager.start_options()
        code, _, err = run(text=config(lives.listeners), folder=folder, env=options["env"], wrapper=options["wrapper"],
                           pass_fds=options["pass_fds"])
        assert code == 1 and "already in use" in err
        manager.wait_stored(0)
    # it has gone, and left its file
    lives.start(count=1)
    assert not lives.kept()
    assert ask(connect(f"unix:{path}")) == b"hello"


def test_a_stale_file_after_a_full_stop_is_replaced(life, manager, folder):
    """A manager that is told to stop the service, and not to restart it, empties its store."""
    os.chmod(folder, 0o777)
    where = f"unix:{folder}/a.sock"
    lives = life({"web": listener("echo", where)})
    lives.start(count=1)
    lives.daemon.stop()
    with manager.changed:
        for _, fd in manager.store:
            os.close(fd)
        manager.store = []
    with pytest.raises(ConnectionRefusedError):
        connect(where)
    lives.start(count=1)
    assert ask(connect(where)) == b"hello"


# ---- hostile stores


def put(manager, name, fd):
    with manager.changed:
        manager.store.append((name, fd))


def test_strange_descriptors(life, manager, folder):
    """None of them is used, all leave the store, and what is right is found among them."""
    os.chmod(folder, 0o777)
    port = free_port()
    wanted = f"127.0.0.1:{port}"
    lives = life({"web": listener("echo", wanted, f"unix:{folder}/a.sock")})
    lives.start(count=2)
    lives.daemon.stop()
    right = list(manager.store)
    address = ("127.0.0.1", port)
    datagram = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    datagram.bind(address)
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    elsewhere = socket.create_server(("127.0.0.1", 0))
    local = socket.socket(socket.AF_UNIX)
    local.bind(f"{folder}/b.sock")
    local.listen()
    sequence = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    sequence.bind(f"\0usher-store-strange-{os.getpid()}")
    sequence.listen()
    pair = socket.socketpair()
    for sock in (datagram, bound, elsewhere, sequence, pair[0]):
        put(manager, stored_name(sock), os.dup(sock.fileno()))
    put(manager, stored_name(local, f"{folder}/a.sock"), os.dup(local.fileno()))
    put(manager, f"{PREFIX}0000000000000000", os.open("/dev/null", os.O_RDONLY))
    put(manager, f"{PREFIX}", os.pipe()[0])
    put(manager, f"{PREFIX}zzz", os.open(folder, os.O_RDONLY))
    put(manager, f"{PREFIX}{'f' * 200}", os.open("/dev/zero", os.O_RDONLY))
    # the same socket once more, and once more under a name that is not its own
    put(manager, right[0][0], os.dup(right[0][1]))
    put(manager, f"{PREFIX}{1:016x}", os.dup(right[0][1]))
    lives.start()
    assert len(lives.kept()) == 2
    wait_until(lambda: {name for name, _ in manager.store} == {name for name, _ in right}, lambda: str(manager.store))
    assert ask(connect(address)) == b"hello"
    assert ask(connect(f"unix:{folder}/a.sock")) == b"hello"
    lives.daemon.stop()
    for sock in (datagram, bound, elsewhere, local, sequence, *pair):
        sock.close()


def test_a_name_that_lies_costs_the_socket_nothing(life, manager):
    """It may be a socket unit's: it is not shut down."""
    port = free_port()
    with socket.create_server(("127.0.0.1", port)) as other:
        put(manager, f"{PREFIX}{1:016x}", os.dup(other.fileno()))
        lives = life({"web": listener("echo", f"127.0.0.1:{free_port()}")})
        lives.start(count=1)
        assert "must not begin with" in lives.daemon.text()
        connect(("127.0.0.1", port)).close()


def test_ipv6_that_takes_ipv4_too_is_not_used(life, manager):
    with socket.socket(socket.AF_INET6) as both:
        both.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        both.bind(("::", 0))
        both.listen()
        port = both.getsockname()[1]
        put(manager, stored_name(both), os.dup(both.fileno()))
        lives = life({"web": listener("echo", f"[::]:{port}")})
        both.close()
        lives.start(count=1)
    assert not lives.kept()
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", port))
    assert ask(connect(("::1", port))) == b"hello"


@pytest.mark.root
@pytest.mark.programs("ip")
def test_sockets_of_another_network_are_not_used(life, manager, network, folder):
    """PrivateNetwork= was set, say: who has no network any more must not be reached by what was opened in it."""
    os.chmod(folder, 0o777)
    port = free_port()
    unix = f"unix:{folder}/a.sock"
    lives = life({"web": listener("echo", f"127.0.0.1:{port}", "unix:@usher-store-%d" % os.getpid(), unix)})
    lives.start(count=3)
    lives.daemon.stop()
    lives.start(count=3, inner=network.wrapper)
    assert lives.kept() == {unix}
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", port))
    with network.inside():
        assert ask(connect(("127.0.0.1", port))) == b"hello"


def test_many_descriptors(life, manager):
    """Three hundred that nobody wants."""
    port = free_port()
    lives = life({"web": listener("echo", f"127.0.0.1:{port}")})
    lives.start(count=1)
    lives.daemon.stop()
    for _ in range(300):
        with socket.create_server(("127.0.0.1", 0)) as sock:
            put(manager, stored_name(sock), os.dup(sock.fileno()))
    lives.start(count=1)
    assert lives.kept() == {f"127.0.0.1:{port}"}
    assert lives.daemon.fds() < 100


def test_descriptors_do_not_leak_over_lives(life):
    port = free_port()
    lives = life({"web": listener("echo", f"127.0.0.1:{port}")})
    lives.start(count=1)
    lives.daemon.stop()
    lives.start(count=1)
    fds = lives.daemon.fds()
    lives.daemon.stop()
    lives.start(count=1)
    assert lives.daemon.fds() == fds


# ---- a manager that is slow


def many(where):
    """Listeners for many addresses; one may have 64."""
    return {f"l{i}": listener("echo", *where[i : i + 50]) for i in range(0, len(where), 50)}


def test_a_manager_that_does_not_listen_holds_nobody_up(life, manager, folder):
    """Its queue is full after some messages: usherd serves all the same, and stores the rest when it listens again."""
    os.chmod(folder, 0o777)
    with open("/proc/sys/net/unix/max_dgram_qlen", encoding="ascii") as file:
        count = int(file.read()) + 50
    manager.size = 2 * count
    where = [f"unix:{folder}/{i}.sock" for i in range(count)]
    lives = life(many(where))
    manager.running.clear()
    daemon = lives.usherd(lives.listeners, start_options=manager.start_options())
    assert all(ask(connect(place)) == b"hello" for place in where)
    assert daemon.reload().ok
    manager.running.set()
    manager.wait_stored(count)
    manager.wait("READY", timeout=30 * SLOW)
    assert daemon.log.count("reloaded: 0 changes") == 1


def test_a_manager_that_does_not_listen_holds_no_reload_up(life, manager, folder):
    """Sockets that go are no reason to wait for it, however many they are; it is told when it listens again."""
    os.chmod(folder, 0o777)
    where = [f"unix:{folder}/{i}.sock" for i in range(100)]
    stays = f"unix:{folder}/stays.sock"
    lives = life({**many(where), "stays": listener("echo", stays)})
    daemon = lives.start(count=101)
    manager.running.clear()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
        other.connect(manager.path)
        with pytest.raises(BlockingIOError):
            while True:
                other.send(b"OTHER=1")
    assert daemon.reload(config({"stays": listener("echo", stays)})).ok
    assert ask(connect(stays)) == b"hello"
    # which does not come before what makes room for it
    more = f"unix:{folder}/more.sock"
    assert daemon.reload(config({"stays": listener("echo", stays), "more": listener("echo", more)})).ok
    manager.running.set()
    manager.wait("FDSTORE", count=102)
    manager.wait_stored(2)
    assert {sock.getsockname() for sock in manager.sockets()} == {stays[5:], more[5:]}


@pytest.mark.heavy
def test_a_thousand(life, manager, folder):
    os.chmod(folder, 0o777)
    where = [f"unix:{folder}/{i}.sock" for i in range(1000)]
    lives = life(many(where))
    lives.start(count=1000)
    lives.daemon.stop()
    lives.start(count=1000)
    assert len(lives.kept()) == 1000
    assert all(ask(connect(place)) == b"hello" for place in where[::50])
    assert manager.count("FDSTORE") == 1000
