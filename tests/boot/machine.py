# SPDX-License-Identifier: MIT
"""A Debian that boots: its root is made with mmdebstrap and kept in a cache folder; each machine is a copy of it, started with
systemd-nspawn in cgroups, a network and a folder of its own. All of it goes when the machine is removed."""
import contextlib
import fcntl
import hashlib
import json
import os
import pathlib
import platform
import re
import select
import shutil
import signal
import subprocess
import tempfile
import time

import harness
import network

SUITE = "bookworm"
CACHE = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "usher"
# after this time it is made again, because of Debian's updates
ROOT_DAYS = 7
ROOT_SECONDS = 600
BOOT_SECONDS = 90
# how large a machine may grow in memory
ROOT_BYTES = 1 << 30
# in each root
PACKAGES = ("systemd", "systemd-sysv", "dbus", "apt")
PROGRAMS = ("mmdebstrap", "systemd-nspawn", "dpkg-buildpackage", "dh", "nsenter", "setpriv", "tar")
# what apt says when there is no way to the mirror
UNREACHABLE = re.compile("Temporary failure resolving|Could not (resolve|connect)|Unable to connect|Connection (failed|timed out)|"
                         "Network is unreachable|Connection refused|Could not handshake")
ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "HOME": "/root", "DEBIAN_FRONTEND": "noninteractive"}


class NoMirror(Exception):
    """There is no root in the cache, and none can be made, because Debian's packages are out of reach."""


def why_not():
    """Why nothing can boot here; None: it can."""
    if os.geteuid() != 0:
        return "it needs root"
    if platform.freedesktop_os_release().get("VERSION_CODENAME") != SUITE:
        return f"this is no Debian {SUITE}, and a package that is built here fits no other"
    missing = [p for p in PROGRAMS if not shutil.which(p, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")]
    if missing:
        return f"not installed: {', '.join(missing)} (tests/deps boot installs them)"
    try:
        Cgroups(f"usher-boot-{os.getpid()}-probe").remove()
    except OSError as error:
        return f"no cgroup can be made: {error}"
    return None


def sources():
    """This machine's own way to Debian's packages, as lines for mmdebstrap; none: its default."""
    lines = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages", "Origin: Debian"],
        check=False, capture_output=True, text=True,
    ).stdout.split("\n")
    lines = sorted({f"deb {line}" for line in lines if line and re.match(rf"{SUITE}(-updates|-security)?$", line.split()[1])})
    # without the suite itself there is something unusual here
    return lines if any(f" {SUITE} main" in line for line in lines) else []


def apt_options():
    """What /etc/apt says of the way to the mirror."""
    dump = subprocess.run(["apt-config", "dump", "--no-empty", "Acquire"], check=True, capture_output=True, text=True).stdout
    own = [line for line in dump.splitlines() if re.match(r"Acquire::(\w+::Proxy|Check-(Date|Valid-Until))", line)]
    return own + ['Acquire::http::Timeout "15";', 'Acquire::Retries "1";', 'APT::Install-Recommends "false";']


def make_root(packages, target):
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", "--format=tar", f"--include={','.join(packages)}"]
    command += [f"--aptopt={line}" for line in apt_options()]
    # a journal that outlives a boot
    command += ['--customize-hook=mkdir -p "$1/var/log/journal"']
    made = subprocess.run([*command, SUITE, str(target), *sources()], check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=ROOT_SECONDS)
    if made.returncode != 0:
        last = "\n".join(made.stdout.splitlines()[-15:])
        raise NoMirror(last) if UNREACHABLE.search(made.stdout) else RuntimeError(f"mmdebstrap failed:\n{last}")


def root_archive(packages):
    """A tar file with the root of a Debian that has these packages. Made once and kept."""
    packages = sorted({*PACKAGES, *packages})
    key = hashlib.sha256(f"1 {SUITE} {packages}".encode()).hexdigest()[:12]
    archive = CACHE / f"boot-{SUITE}-{key}.tar"
    CACHE.mkdir(parents=True, exist_ok=True)
    with open(CACHE / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if archive.exists() and time.time() - archive.stat().st_mtime < ROOT_DAYS * 86400:
            return archive
        new = archive.with_suffix(".new.tar")
        try:
            make_root(packages, new)
            new.rename(archive)
        except (NoMirror, subprocess.TimeoutExpired) as error:
            if not archive.exists():
                raise NoMirror(str(error)) from error
            print(f"{archive} is older than {ROOT_DAYS} days and cannot be made again now")
        finally:
            new.unlink(missing_ok=True)
        for other in CACHE.glob("boot-*.tar"):
            if other != archive and time.time() - other.stat().st_mtime > ROOT_DAYS * 86400:
                other.unlink()
    return archive


class Cgroups:
    """A cgroup beneath our own, in each hierarchy in which systemd keeps its units. It would take those at the top
    otherwise, and two machines the same ones."""

    def __init__(self, name):
        self.folders = []
        mounts = {}
        with open("/proc/self/mountinfo", encoding="utf-8") as lines:
            for line in lines:
                fields, of = (part.split() for part in line.split(" - "))
                if of[0] == "cgroup2":
                    mounts[""] = fields[3], fields[4]
                elif of[0] == "cgroup" and "name=systemd" in of[2].split(","):
                    mounts["name=systemd"] = fields[3], fields[4]
        with open("/proc/self/cgroup", encoding="utf-8") as lines:
            own = {kind: path for _, kind, path in (line.rstrip("\n").split(":", 2) for line in lines)}
        try:
            for kind, (root, mount) in mounts.items():
                folder = pathlib.Path(mount) / os.path.relpath(own.get(kind, "/"), root) / name
                folder.mkdir()
                self.folders.append(folder)
        except OSError:
            self.remove()
            raise
        if not self.folders:
            raise OSError("there is no cgroup hierarchy here that systemd could use")

    def remove(self):
        for top in self.folders:
            for folder, _, _ in os.walk(top, topdown=False):
                end = time.monotonic() + 5
                while True:
                    try:
                        os.rmdir(folder)
                    except FileNotFoundError:
                        break
                    except OSError:
                        if time.monotonic() > end:
                            raise
                        time.sleep(0.02)  # processes take a moment to go
                    else:
                        break
        self.folders = []


class Failed(Exception):
    """A command in the machine failed."""


class Machine:
    """boot() starts it; remove() ends it and takes everything away."""

    count = 0

    def __init__(self, archive):
        Machine.count += 1
        self.name = f"usher-boot-{os.getpid()}-{Machine.count}"
        sweep()
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="usher-boot-", dir="/var/tmp"))
        self.lock = open(self.folder / "lock", "w", encoding="ascii")  # whose it is: see sweep()
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.root = self.folder / "root"
        self.nspawn = None
        self.leader = None  # the process id of its systemd, outside
        self.leader_fd = None
        self.cgroups = None
        self.since = []
        try:
            self.root.mkdir()
            # in memory where there is plenty: a disk takes many times as long, above all for the removal
            if available_bytes() > 4 * ROOT_BYTES:
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"mode=0755,size={ROOT_BYTES}", "usher-boot", self.root], check=True)
            subprocess.run(["tar", "-C", self.root, "--numeric-owner", "--xattrs", "--xattrs-include=*", "-xf", archive], check=True)
        except BaseException:
            self.remove()
            raise

    # ---- life

    def boot(self):
        assert self.nspawn is None
        self.cgroups = Cgroups(self.name)
        nspawn = ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--link-journal=no",
                  "--resolv-conf=off", "--timezone=off", "--console=pipe", f"--machine={self.name}", "--hostname=boot",
                  f"--directory={self.root}", "systemd.journald.forward_to_console=0"]
        enter = 'while [ "$1" != -- ]; do echo $$ >"$1/cgroup.procs" || exit 1; shift; done; shift; exec "$@"'
        with open(self.folder / "console", "ab") as console:
            # a session of its own: ^C is ours to handle; and it does not outlive us
            self.nspawn = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "sh", "-c", enter, "sh", *self.cgroups.folders, "--", *nspawn],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )
        end = time.monotonic() + BOOT_SECONDS
        while not self._is_up():
            if self.nspawn.poll() is not None or time.monotonic() > end:
                text = (self.folder / "console").read_text(errors="replace")
                self.end()
                raise AssertionError(f"it does not boot:\n{text[-4000:]}")
            time.sleep(0.05)

    def _is_up(self):
        if self.leader is None:
            with contextlib.suppress(OSError):
                pid = self.nspawn.pid
                for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split():
                    if pathlib.Path(f"/proc/{child}/comm").read_text(encoding="utf-8").strip() == "systemd":
                        self.leader_fd = os.pidfd_open(int(child))
                        self.leader = int(child)
        return self.leader is not None and self.state() in ("running", "degraded")

    def state(self):
        return self.run("systemctl", "is-system-running", check=False).stdout.strip()

    def shut_down(self):
        """As an administrator does it."""
        self.run("systemctl", "poweroff", check=False)
        self.nspawn.wait(BOOT_SECONDS)
        self.end()

    def end(self):
        """At once, whatever it does."""
        if self.nspawn is not None:
            if self.leader_fd is not None:
                # nspawn sees to the rest
                with contextlib.suppress(ProcessLookupError):
                    signal.pidfd_send_signal(self.leader_fd, signal.SIGKILL)
                select.select([self.leader_fd], [], [], 30)
                os.close(self.leader_fd)
                self.leader_fd = None
            else:
                self.nspawn.kill()
            try:
                self.nspawn.wait(10)
            except subprocess.TimeoutExpired:
                self.nspawn.kill()
                self.nspawn.wait(10)
            self.nspawn = None
            self.leader = None
        if self.cgroups is not None:
            self.cgroups.remove()
            self.cgroups = None
        with contextlib.suppress(OSError):
            os.rmdir(f"/run/systemd/nspawn/propagate/{self.name}")

    def remove(self):
        try:
            self.end()
        finally:
            remove_folder(self.folder)
            self.lock.close()

    # ---- in it

    def enter(self, argv):
        """The command that runs another in it."""
        return ["nsenter", "-t", str(self.leader), "-a", "-r", "-w", *map(str, argv)]

    def run(self, *argv, check=True, timeout=60, **options):
        """Runs a program in it. Returns it with stdout and stderr; raises Failed unless check is False."""
        done = subprocess.run(self.enter(argv), check=False, capture_output=True, text=True, timeout=timeout, env=ENVIRONMENT,
                              stdin=options.pop("stdin", subprocess.DEVNULL), **options)
        if check and done.returncode != 0:
            raise Failed(f"{' '.join(map(str, argv))}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def out(self, *argv, **options):
        return self.run(*argv, **options).stdout.strip()

    def systemctl(self, *argv, **options):
        return self.run("systemctl", *argv, **options)

    def kill(self, pid, name="KILL"):
        """kill is a program of procps, which need not be there; every shell has its own."""
        self.run("sh", "-c", f"kill -{name} {pid}")

    def property(self, unit, name):
        return self.out("systemctl", "show", "--value", "--property", name, unit)

    def path(self, path):
        """Where a file of it is, seen from outside."""
        return pathlib.Path(f"/proc/{self.leader}/root" if self.leader else self.root) / str(path).lstrip("/")

    def read(self, path):
        return self.path(path).read_text(encoding="utf-8")

    def write(self, path, text):
        file = self.path(path)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")

    def put(self, file, path):
        shutil.copyfile(file, self.path(path))

    def install(self, deb):
        """As its administrator does it: apt install ./usher.deb"""
        self.put(deb, "/root/usher.deb")
        try:
            self.run("apt-get", "install", "-qy", "--allow-downgrades", "/root/usher.deb", timeout=120)
        finally:
            self.path("/root/usher.deb").unlink()

    def outside(self, pid):
        """The process id here of one in there."""
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                numbers = re.search(r"^NSpid:(.*)$", status.read_text(encoding="utf-8", errors="replace"), re.M)[1].split()
                if len(numbers) == 2 and int(numbers[1]) == pid and self._has(status.parent.name):
                    return int(numbers[0])
        raise AssertionError(f"no process {pid} in there")

    def _has(self, pid):
        return os.stat(f"/proc/{pid}/ns/pid") == os.stat(f"/proc/{self.leader}/ns/pid")

    # ---- its journal

    def mark(self):
        """journal() tells of what comes from now on."""
        self.run("journalctl", "--sync")
        # not --after-cursor, which in systemd 252 passes over the first record that has the matches
        self.since = [f"--since=@{time.time():.6f}"]

    def journal(self, *matches):
        """Its records (dicts) since mark()."""
        text = self.run("journalctl", "-q", "--no-pager", "-a", "-o", "json", *self.since, *matches).stdout
        return [json.loads(line) for line in text.splitlines()]

    def journal_text(self, *matches):
        return self.run("journalctl", "-q", "--no-pager", *self.since, *matches).stdout

    def wait_journal(self, *matches, pattern="", count=1):
        """Waits for so many records whose MESSAGE has the pattern, and returns them."""

        def found():
            records = [r for r in self.journal(*matches) if re.search(pattern, str(r.get("MESSAGE")))]
            return records if len(records) >= count else None

        return harness.wait_until(found, lambda: f"{matches} {pattern}; there is:\n{self.journal_text()[-3000:]}")

    # ---- its network

    def inside(self):
        """Sockets that this thread makes are in its network."""
        return network.inside_of(f"/proc/{self.leader}/ns/net")

    def connect(self, address, **options):
        with self.inside():
            return harness.connect(address, **options)


def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))


def remove_folder(folder):
    if os.path.ismount(folder / "root"):
        # lazily if need be: who still looks into it does not keep it
        if subprocess.run(["umount", folder / "root"], check=False, capture_output=True).returncode != 0:
            subprocess.run(["umount", "--lazy", folder / "root"], check=True)
    shutil.rmtree(folder, ignore_errors=True)


def sweep():
    """Removes what runs that were killed have left: nobody holds the lock of such a folder."""
    for folder in pathlib.Path("/var/tmp").glob("usher-boot-*"):
        with contextlib.suppress(OSError), open(folder / "lock", "r", encoding="ascii") as lock:
            if time.time() - os.fstat(lock.fileno()).st_mtime < 60:
                continue  # its owner may be about to lock it
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_folder(folder)
