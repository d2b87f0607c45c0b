# SPDX-License-Identifier: MIT
"""Fixtures of the functional tests. They drive the real daemon through its real sockets, on ports that the kernel
chooses and in folders of their own, and end only processes that they started."""
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(__file__))

import harness  # noqa: E402
import servers  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--heavy", choices=("with", "without", "only"), default="with",
                     help="tests marked heavy: with all others (default), without them, or only them")


def pytest_collection_modifyitems(config, items):
    heavy = config.getoption("--heavy")
    if heavy != "with":
        kept = [item for item in items if bool(item.get_closest_marker("heavy")) == (heavy == "only")]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
    for item in items:
        if item.get_closest_marker("root") and not harness.IS_ROOT:
            item.add_marker(pytest.mark.skip(reason="needs root"))
        programs = item.get_closest_marker("programs")
        missing = [p for p in (programs.args if programs else ()) if not find_program(p)]
        if missing:
            item.add_marker(pytest.mark.skip(reason="not installed: " + ", ".join(missing)))


def find_program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """A test that hangs fails."""
    limit = (150 if item.get_closest_marker("heavy") or item.get_closest_marker("slow") else 60) * harness.SLOW

    def expired(_signal, _frame):
        raise TimeoutError(f"the test took more than {limit} s")

    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(limit)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def folder():
    """A folder that every user may use (the daemon is nobody when the tests are root), with a short name: a UNIX
    address has 108 bytes."""
    path = tempfile.mkdtemp(prefix="usher-")
    os.chmod(path, 0o777)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def ca(folder):
    """A certificate authority whose files are in the test's folder."""
    import certificates  # pylint: disable=import-outside-toplevel

    return certificates.Authority(folder)


@pytest.fixture
def journal(folder):
    """A journal of the test's own: usherd(..., start_options=journal.start_options)."""
    own = servers.Journal(folder)
    yield own
    own.stop()


@pytest.fixture
def usherd(folder):
    """Starts daemons: usherd({"web": listener("echo")}, drain_timeout="1s"), or usherd(text="...")."""
    running = []

    def start(listeners=None, text=None, start_options=None, **top):
        if text is None:
            text = harness.config(listeners, **top)
        own = os.path.join(folder, f"daemon{len(running)}")
        os.mkdir(own)
        os.chmod(own, 0o777)
        daemon = harness.Usherd(own, text, **(start_options or {}))
        running.append(daemon)
        return daemon

    yield start
    problems = []
    for daemon in reversed(running):
        try:
            daemon.finish()
        except AssertionError as problem:
            problems.append(str(problem))
        print("\n".join(daemon.raw[-60:]))
    assert not problems, "\n".join(problems)


@pytest.fixture
def serve():
    """Starts upstream servers: serve(servers.echo).address."""
    with contextlib.ExitStack() as stack:

        def start(handler, **options):
            server = servers.Server(handler, **options)
            stack.callback(server.stop)
            return server

        yield start


@pytest.fixture
def refused():
    """An address that refuses connections."""
    sock, address = servers.refusing()
    yield address
    sock.close()


@pytest.fixture
def blackhole():
    """An address that answers no connection."""
    hole = servers.Blackhole()
    yield hole.address
    hole.stop()


@pytest.fixture
def dns():
    server = servers.Dns()
    yield server
    server.stop()


@pytest.fixture
def notify(folder):
    sink = servers.NotifySocket(os.path.join(folder, "notify"))
    yield sink
    sink.stop()


@pytest.fixture
def manager(folder):
    """systemd, as far as its descriptor store goes."""
    own = servers.Manager(os.path.join(folder, "manager"))
    yield own
    own.stop()


@pytest.fixture
def network():
    """A network with as many addresses as a test likes. Needs root, and `ip`."""
    import network as networks  # pylint: disable=import-outside-toplevel

    try:
        own = networks.Network()
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespace to be had: {error.stderr.decode().strip()}")
    yield own
    own.remove()
