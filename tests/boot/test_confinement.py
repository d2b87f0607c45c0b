# SPDX-License-Identifier: MIT
"""What usherd.service takes away from the daemon, as the kernel tells it."""
import errno
import os
import re

import pytest

import harness
from harness import listener
from usher import SERVICE

CAP_NET_BIND_SERVICE = 10
# the most that systemd-analyze security may say: see the gate in make lint
EXPOSURE, EXPOSURE_WITHOUT_CAPABILITIES = 1.4, 1.1


def test_who_it_is(usher):
    status = usher.status()
    uid = int(usher.machine.out("id", "-u", "usher"))
    gid = int(usher.machine.out("id", "-g", "usher"))
    assert uid != 0
    assert status["Uid"].split() == [str(uid)] * 4
    assert status["Gid"].split() == [str(gid)] * 4
    assert set(status["Groups"].split()) <= {str(gid)}


def test_no_capability_but_for_low_ports(usher):
    """It keeps it for a reload that opens such a port."""
    status = usher.status()
    for kind in ("CapPrm", "CapEff", "CapBnd", "CapAmb", "CapInh"):
        assert int(status[kind], 16) & ~(1 << CAP_NET_BIND_SERVICE) == 0, f"{kind} {status[kind]}"
    usher.configure({"low": listener("echo", "127.0.0.1:81")})
    usher.machine.systemctl("reload", SERVICE)
    assert usher.ask("127.0.0.1:81") == b"hello"


def test_no_new_privileges_and_a_seccomp_filter(usher):
    status = usher.status()
    assert status["NoNewPrivs"].strip() == "1"
    assert status["Seccomp"].strip() == "2"
    assert int(status["Seccomp_filters"]) > 0


def test_all_its_threads_are_confined(usher):
    pid = usher.pid
    for task in usher.machine.out("ls", f"/proc/{pid}/task").split():
        text = usher.machine.out("cat", f"/proc/{pid}/task/{task}/status")
        assert re.search(r"(?m)^NoNewPrivs:\t1$", text) and re.search(r"(?m)^Seccomp:\t2$", text), text


@pytest.fixture
def its_root(usher):
    """Its file system, as it sees it."""
    return f"/proc/{usher.machine.outside(usher.pid)}/root"


@pytest.mark.parametrize("folder", ["/", "/etc", "/etc/usher", "/usr", "/var", "/var/lib", "/var/log", "/run", "/boot", "/root", "/home"])
def test_its_file_system_is_read_only(its_root, folder):
    """Not even root may write there through its eyes."""
    try:
        fd = os.open(f"{its_root}{folder}/probe", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        assert error.errno in (errno.EROFS, errno.EACCES, errno.EPERM), error
        return
    os.close(fd)
    os.unlink(f"{its_root}{folder}/probe")
    pytest.fail(f"{folder} can be written to")


@pytest.mark.parametrize("folder", ["/var/lib/usher", "/run/usher"])
def test_what_it_may_write(usher, its_root, folder):
    with open(f"{its_root}{folder}/probe", "w", encoding="ascii") as file:
        file.write("x")
    assert usher.machine.read(f"{folder}/probe") == "x"
    os.unlink(f"{its_root}{folder}/probe")


def test_its_temporary_files_are_its_own(usher, its_root):
    usher.machine.write("/tmp/everybodys", "x")
    assert not os.path.exists(f"{its_root}/tmp/everybodys")
    usher.machine.path("/tmp/everybodys").unlink()


def test_it_sees_no_devices_but_the_harmless(its_root):
    there = set(os.listdir(f"{its_root}/dev"))
    assert "null" in there
    assert not there & {"mem", "kmsg", "sda", "vda", "console"}, there


def exposure(usher):
    text = usher.machine.run("systemd-analyze", "security", "--no-pager", SERVICE).stdout
    return float(re.search(r"exposure level for usherd\.service: ([\d.]+)", text)[1])


def test_systemd_analyze_security(usher):
    assert exposure(usher) <= EXPOSURE
    usher.drop_in((harness.TOP / "systemd/examples/no-capabilities.conf").read_text(encoding="utf-8"))
    assert exposure(usher) <= EXPOSURE_WITHOUT_CAPABILITIES
