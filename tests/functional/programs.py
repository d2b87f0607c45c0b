# SPDX-License-Identifier: MIT
"""Real programs for tests, each started privately and ended by its pid."""
import contextlib
import glob
import grp
import os
import pwd
import re
import subprocess

from conftest import find_program
from harness import IS_ROOT, connect, free_port, wait_until


@contextlib.contextmanager
def running(command, log, ready, **options):
    """A program in the background; `ready` is polled until true."""
    with open(log, "wb") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **options)
    try:

        def is_ready():
            if process.poll() is not None:
                raise AssertionError(f"{command[0]} ended with {process.returncode}: {open(log, errors='replace').read()}")
            return ready()

        wait_until(is_ready, f"{command[0]}: {open(log, errors='replace').read()}")
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def answers(address):
    def condition():
        try:
            connect(address).close()
        except OSError:
            return False
        return True

    return condition


NGINX = """
daemon off; master_process off; worker_rlimit_nofile 4096;
pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 1024; }}
http {{
  access_log off; default_type text/plain; keepalive_requests 1000000;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;
  uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5; client_max_body_size 0;
  server {{
    listen {listen};
    {extra}
    location / {{ return 200 "hello from nginx\\n"; }}
    location /files/ {{ alias {folder}/files/; }}
  }}
}}
"""


@contextlib.contextmanager
def nginx(folder, unix=False, tls=None):
    """nginx, with this certificate if one is given; yields its address as usher writes it. What is in FOLDER/files is at
    /files/."""
    os.makedirs(f"{folder}/files", exist_ok=True)
    address = f"unix:{folder}/nginx.sock" if unix else f"127.0.0.1:{free_port()}"
    with open(f"{folder}/nginx.conf", "w", encoding="ascii") as file:
        extra = f"ssl_certificate {tls.cert}; ssl_certificate_key {tls.key};" if tls else ""
        file.write(NGINX.format(folder=folder, listen=address + (" ssl" if tls else ""), extra=extra))
    command = [find_program("nginx"), "-p", folder, "-c", f"{folder}/nginx.conf", "-e", f"{folder}/nginx.err"]
    with running(command, f"{folder}/nginx.log", answers(address)):
        yield address


def postgres_program(name):
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))
    return found[-1] if found else find_program(name)


@contextlib.contextmanager
def postgres(folder):
    """A private PostgreSQL with a data directory of its own; yields its UNIX socket."""
    data = f"{folder}/pg"
    os.mkdir(data)
    wrap = []
    if IS_ROOT:  # it refuses to be root
        os.chown(data, pwd.getpwnam("postgres").pw_uid, -1)
        wrap = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    env = {**os.environ, "HOME": data, "LC_ALL": "C.UTF-8"}
    subprocess.run(
        [*wrap, postgres_program("initdb"), "-D", f"{data}/data", "-A", "trust", "-U", "usher", "-N", "--no-instructions"],
        check=True, capture_output=True, env=env, cwd=data,
    )
    command = [*wrap, postgres_program("postgres"), "-D", f"{data}/data", "-k", data, "-c", "listen_addresses=", "-c", "fsync=off",
               "-c", "shared_buffers=16MB", "-c", "unix_socket_permissions=0777", "-c", "max_connections=50"]
    os.chmod(data, 0o755)

    def ready():
        return subprocess.run(["pg_isready", "-q", "-h", data, "-U", "usher"], check=False, env=env).returncode == 0

    with running(command, f"{folder}/pg.log", ready, env=env, cwd=data):
        yield f"unix:{data}/.s.PGSQL.5432"


@contextlib.contextmanager
def redis(folder):
    path = f"{folder}/redis.sock"
    command = ["redis-server", "--port", "0", "--unixsocket", path, "--unixsocketperm", "777", "--save", "", "--appendonly", "no",
               "--dir", folder, "--daemonize", "no"]
    with running(command, f"{folder}/redis.log", answers(f"unix:{path}")):
        yield f"unix:{path}"


class Wrk:
    """The result of a wrk run."""

    def __init__(self, text):
        self.text = text
        found = re.search(r"(\d+) requests in", text)
        self.requests = int(found.group(1)) if found else 0
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        self.errors = sum(map(int, errors.groups())) if errors else 0
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        self.bad = int(bad.group(1)) if bad else 0

    def __repr__(self):
        return self.text


def wrk_start(address, seconds, connections=8, close=False, path="/"):
    headers = ["-H", "Connection: close"] if close else []
    return subprocess.Popen(
        ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "10s", *headers, f"http://{address}{path}"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )


def wrk_result(process, timeout=60):
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == 0, out
    return Wrk(out)


DOVECOT = """
base_dir = {folder}/dovecot
state_dir = {folder}/dovecot
log_path = {folder}/dovecot.err
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
auth_mechanisms = plain
default_internal_user = {internal}
default_internal_group = {group}
default_login_user = {login}
mail_location = maildir:{folder}/mail
first_valid_uid = 1
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
"""


@contextlib.contextmanager
def dovecot(folder):
    """A mail server's IMAP; yields its address. Everybody's password is "secret"."""
    port = free_port()
    me = pwd.getpwuid(os.geteuid()).pw_name
    mail = pwd.getpwnam("nobody") if IS_ROOT else pwd.getpwuid(os.geteuid())
    os.mkdir(f"{folder}/mail")
    os.chown(f"{folder}/mail", mail.pw_uid, mail.pw_gid)
    with open(f"{folder}/dovecot.conf", "w", encoding="ascii") as file:
        file.write(DOVECOT.format(folder=folder, port=port, uid=mail.pw_uid, gid=mail.pw_gid, internal="dovecot" if IS_ROOT else me,
                                  group="dovecot" if IS_ROOT else grp.getgrgid(os.getegid()).gr_name,
                                  login="dovenull" if IS_ROOT else me))
    command = [find_program("dovecot"), "-F", "-c", f"{folder}/dovecot.conf"]
    with running(command, f"{folder}/dovecot.log", answers(("127.0.0.1", port))):
        yield f"127.0.0.1:{port}"
