# SPDX-License-Identifier: MIT
"""Real programs through usherd."""
import getpass
import hashlib
import os
import subprocess

import pytest

import programs
import servers
from conftest import find_program
from harness import IS_ROOT, SANITIZER, connect, free_port, listener, proxy, split_address

SHORT = 2


@pytest.mark.programs("nginx", "curl")
def test_nginx_and_curl(usherd, folder):
    with programs.nginx(folder) as upstream:
        data = os.urandom(20 << 20)
        with open(f"{folder}/files/data", "wb") as file:
            file.write(data)
        daemon = usherd({"web": listener(proxy(upstream), "127.0.0.1:0", "[::1]:0")})
        for index in range(2):
            url = f"http://{daemon.address('web', index)}"
            out = subprocess.run(["curl", "-sS", f"{url}/"], capture_output=True, check=True).stdout
            assert out == b"hello from nginx\n"
            out = subprocess.run(["curl", "-sS", f"{url}/files/data"], capture_output=True, check=True).stdout
            assert hashlib.sha256(out).digest() == hashlib.sha256(data).digest()
        assert daemon.wait_closed(count=4).upstream == upstream


@pytest.mark.programs("nginx", "wrk")
@pytest.mark.parametrize("close", [False, True])
def test_nginx_and_wrk(usherd, folder, close):
    with programs.nginx(folder) as upstream:
        daemon = usherd({"web": listener(proxy(upstream))})
        fds = daemon.fds()
        result = programs.wrk_result(programs.wrk_start(daemon.address("web"), SHORT, close=close))
        assert result.requests > 100 and result.errors == 0 and result.bad == 0, result
        daemon.wait_fds(fds)


@pytest.mark.programs("psql", "pgbench")
def test_postgresql(usherd, folder):
    if not programs.postgres_program("initdb"):
        pytest.skip("not installed: postgresql")
    with programs.postgres(folder) as upstream:
        daemon = usherd({"db": listener(proxy(upstream), "127.0.0.1:0")})
        port = str(daemon.port("db"))
        target = ["-h", "127.0.0.1", "-p", port, "-U", "usher"]
        out = subprocess.run(["psql", *target, "-Atc", "select sum(i) from generate_series(1, 1000000) i", "postgres"],
                             capture_output=True, text=True, check=True).stdout
        assert out.strip() == "500000500000"
        out = subprocess.run(["psql", *target, "-Atc", "select repeat('x', 5000000)", "postgres"], capture_output=True, check=True).stdout
        assert len(out.strip()) == 5000000
        bench = find_program("pgbench") and "pgbench"
        subprocess.run([bench, *target, "-i", "-q", "postgres"], check=True, capture_output=True)
        for extra in ([], ["-C"]):  # one connection a client, one a transaction
            done = subprocess.run([bench, *target, "-n", "-c", "4", "-T", str(SHORT), *extra, "postgres"],
                                  capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert "number of failed transactions: 0" in done.stdout, done.stdout
        assert not daemon.close_records(reason="internal")


@pytest.mark.programs("redis-server", "redis-benchmark", "redis-cli")
def test_redis(usherd, folder):
    with programs.redis(folder) as upstream:
        daemon = usherd({"cache": listener(proxy(upstream))})
        port = str(daemon.port("cache"))
        requests = "20000" if not SANITIZER else "4000"
        done = subprocess.run(["redis-benchmark", "-p", port, "-n", requests, "-c", "20", "-q", "-t", "set,get,lrange_100"],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "Error" not in done.stdout + done.stderr, done
        done = subprocess.run(["redis-benchmark", "-p", port, "-n", requests, "-c", "20", "-q", "-P", "16", "-t", "set,get"],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        out = subprocess.run(["redis-cli", "-p", port, "set", "a", "b"], capture_output=True, text=True, check=True).stdout
        assert out.strip() == "OK"


@pytest.mark.programs("sshd", "ssh", "ssh-keygen")
def test_ssh(usherd, folder):
    port = free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{name}"], check=True)
    os.chmod(folder, 0o755)  # sshd's StrictModes aside, ssh wants its keys private
    with open(f"{folder}/sshd_config", "w", encoding="ascii") as file:
        file.write(f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nPidFile {folder}/sshd.pid\nStrictModes no\n"
                   f"AuthorizedKeysFile {folder}/user.pub\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\n")
    if IS_ROOT:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    command = [find_program("sshd"), "-D", "-e", "-f", f"{folder}/sshd_config"]
    with programs.running(command, f"{folder}/sshd.log", programs.answers(("127.0.0.1", port))):
        daemon = usherd({"ssh": listener(proxy(f"127.0.0.1:{port}"))})
        ssh = ["ssh", "-F", "none", "-p", str(daemon.port("ssh")), "-i", f"{folder}/user", "-o", "StrictHostKeyChecking=no",
               "-o", f"UserKnownHostsFile={folder}/known", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
               f"{getpass.getuser()}@127.0.0.1"]
        done = subprocess.run([*ssh, "echo through && head -c 3000000 /dev/zero | wc -c"], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, check=False)
        assert done.returncode == 0, done.stderr + open(f"{folder}/sshd.log", encoding="utf-8").read()
        assert done.stdout.split() == ["through", "3000000"]
        data = os.urandom(3 << 20)
        done = subprocess.run([*ssh, "cat"], input=data, capture_output=True, check=True)
        assert done.stdout == data


@pytest.mark.programs("nc")
def test_nc_half_close(usherd, serve):
    """nc -N ends its direction at the end of its input and waits for the answer."""

    def counts(sock, _server):
        total = 0
        while data := sock.recv(65536):
            total += len(data)
        sock.sendall(b"%d\n" % total)

    upstream = serve(counts)
    daemon = usherd({"web": listener(proxy(upstream.address)), "echo": listener("echo")})
    for name, expected in (("web", b"1000000\n"), ("echo", b"x" * 1000000)):
        done = subprocess.run(["nc", "-N", "127.0.0.1", str(daemon.port(name))], input=b"x" * 1000000, capture_output=True,
                              check=True, timeout=30)
        assert done.stdout == expected
    daemon.wait_closed(count=2)
    assert not [record for record in daemon.close_records() if "reset" in record.reason]


@pytest.mark.programs("nc")
def test_nc_as_a_server_ends_first(usherd, serve, folder):
    """The upstream ends, the client has not: half a connection stays usable."""
    upstream = serve(servers.says(b"greeting\n"))
    daemon = usherd({"web": listener(proxy(upstream.address))})
    done = subprocess.run(["nc", "127.0.0.1", str(daemon.port("web"))], stdin=subprocess.DEVNULL, capture_output=True, check=False,
                          timeout=30)
    assert done.stdout == b"greeting\n"
    assert connect(split_address(daemon.address("web"))).recv(100) == b"greeting\n"
