# SPDX-License-Identifier: MIT
"""Fixtures of the tests in a booted Debian. They need root; where nothing can boot they are skipped, and that is said loudly."""
import os
import pathlib
import signal
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "functional"))
sys.path.insert(0, HERE)

import machine as machines  # noqa: E402
import package  # noqa: E402
from usher import Usher  # noqa: E402

TEST_SECONDS = 120
skipped_why = []


def pytest_collection_modifyitems(items):
    why = machines.why_not() if items else None
    if why:
        skipped_why.append(why)
        for item in items:
            item.add_marker(pytest.mark.skip(reason=why))


def pytest_terminal_summary(terminalreporter):
    for why in skipped_why:
        terminalreporter.write_line(f"SKIPPED: nothing was tested in a booted system: {why}")


def expired(_signal, _frame):
    raise TimeoutError(f"the test took more than {TEST_SECONDS} s")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_call(item):
    """A test that hangs fails."""
    before = signal.signal(signal.SIGALRM, expired)
    signal.alarm(TEST_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def pytest_configure():
    """Ended from outside, the run takes its machines away as after ^C."""

    def ended(number, _frame):
        raise KeyboardInterrupt(f"signal {number}")

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ended)


@pytest.fixture(scope="session")
def deb():
    """The package of this tree."""
    return package.build()


@pytest.fixture(scope="session")
def older_deb(deb):
    """What was installed before it."""
    with tempfile.TemporaryDirectory() as folder:
        yield package.older(deb, pathlib.Path(folder))


@pytest.fixture(scope="session")
def archive(deb):
    try:
        return machines.root_archive(package.depends(deb))
    except machines.NoMirror as error:
        why = f"no root is in {machines.CACHE}, and Debian's packages are out of reach"
        if not skipped_why:
            skipped_why.append(f"{why}:\n{error}")
        pytest.skip(why)


@pytest.fixture
def fresh_machine(archive):
    """A Debian that is up, without usher, for one test."""
    own = machines.Machine(archive)
    try:
        own.boot()
        yield own
    finally:
        own.remove()


@pytest.fixture(scope="session")
def machine(archive, deb):
    """A Debian that is up, with usher installed, for all tests that leave it as it was."""
    own = machines.Machine(archive)
    try:
        own.boot()
        own.install(deb)
        yield own
    finally:
        own.remove()


@pytest.fixture
def usher(machine):
    """usherd in the machine, as the package starts it; what the test changes goes again."""
    own = Usher(machine)
    yield own
    print(machine.journal_text("-o", "short-precise")[-8000:])
    own.restore()
