# SPDX-License-Identifier: MIT
"""The candidates. How each is configured, and why, stands in its file in tests/bench/peers."""
import pathlib
import re
import shlex
import shutil
import signal
import subprocess

from machine import TOP, Failure, Process, takes_connections, wait_for

PEERS = pathlib.Path(__file__).resolve().parents[1] / "peers"
# names of ports in the configurations
ROLES = ("web", "talk", "refuse", "tls", "tls_rsa", "tls_web", "echo", "daytime", "discard")
MANY = re.compile(r"^@many@\n(.*?)^@end@\n", re.M | re.S)


def render(name, values, many=()):
    """The text of a configuration."""
    text = (PEERS / name).read_text(encoding="ascii")
    text = MANY.sub(lambda m: "".join(m.group(1).replace("@each@", str(port)) for port in many), text)
    text = re.sub(r"@(\w+)@", lambda m: str(values[m.group(1)]), text)
    return text


class Peer:
    """A program, or a mode of one. `commands` are (configuration, arguments with CONFIG in them)."""

    def __init__(self, name, title, commands, version, many=None, reload=signal.SIGHUP, files=2):
        self.name = name
        self.title = title
        self.commands = commands
        self.version_of = version
        self.many = many  # the same as in `commands`, with listeners to be repeated
        self.reload = reload
        self.files = files  # open ones a proxied connection

    def program(self):
        return shlex.split(self.version_of[0])[0]

    def installed(self):
        return shutil.which(self.program()) is not None

    def version(self):
        command, pattern = self.version_of
        done = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        found = re.search(pattern, done.stdout + done.stderr)
        return found.group(1) if found else "?"


class Running:
    """A candidate that runs, with ports of its own."""

    def __init__(self, peer, bench, label="", many=None):
        self.peer = peer
        self.processes = []
        self.values = dict(bench.values)
        self.values.update({role: bench.ports.take() for role in ROLES})
        self.values["name"] = peer.name + label
        self.bench = bench
        self.configs = []
        for index, (template, command) in enumerate([peer.many] if many else peer.commands):
            config = bench.folder / f"{peer.name}{label}-{index}.conf"
            self.configs.append((template, config))
            self.write(many or ())
            if command is None:  # a file of commands
                commands = [line for line in config.read_text().splitlines() if line and not line.startswith("#")]
            else:
                commands = [command.replace("CONFIG", str(config))]
            for line in commands:
                self.processes.append(Process(f"{peer.name}{label}-{len(self.processes)}", shlex.split(line), bench.folder))
        if many:
            return  # who starts it so, looks itself when it is there
        try:
            self.await_all()
        except Failure:
            self.stop()
            raise

    def write(self, many):
        """Its configuration, anew, with these ports for what is repeated."""
        for template, config in self.configs:
            config.write_text(render(template, self.values, many))

    def await_all(self):
        for template, _ in self.configs:
            for role in ROLES:
                if f"@{role}@" in (PEERS / template).read_text(encoding="ascii"):
                    self.await_port(self.values[role])

    def await_port(self, port):
        def ready():
            for process in self.processes:
                if not process.alive():
                    raise Failure(f"{process.name} does not run: {process.tail()}")
            return takes_connections(port)

        wait_for(ready, f"{self.peer.name} to listen on port {port}", pause=0.02)

    def port(self, role):
        return self.values[role]

    def roots(self):
        return [p.pid for p in self.processes]

    def stop(self):
        for process in self.processes:
            process.stop()


USHERD = TOP / "build" / "usherd"
PEERS_ALL = {
    peer.name: peer
    for peer in (
        Peer("usherd", "usherd", [("usherd.conf", f"{USHERD} --config CONFIG")], (f"{USHERD} --version", r"(\d\S*)"),
             ("usherd-many.conf", f"{USHERD} --config CONFIG")),
        Peer("haproxy", "HAProxy", [("haproxy.cfg", "haproxy -db -f CONFIG")], ("haproxy -v", r"version (\S+)"),
             ("haproxy-many.cfg", "haproxy -W -f CONFIG"), signal.SIGUSR2),
        Peer("haproxy-splice", "HAProxy, splicing", [("haproxy-splice.cfg", "haproxy -db -f CONFIG")],
             ("haproxy -v", r"version (\S+)")),
        Peer("nginx", "nginx stream", [("nginx.conf", "nginx -c CONFIG")], ("nginx -v", r"nginx/(\S+)"),
             ("nginx-many.conf", "nginx -c CONFIG")),
        Peer("socket-proxyd", "systemd-socket-proxyd", [("socket-proxyd.conf", None)],
             ("systemd-socket-activate --version", r"systemd (\S+)"), files=6),
        Peer("hitch", "hitch", [("hitch.conf", "hitch --config=CONFIG"), ("hitch-web.conf", "hitch --config=CONFIG")],
             ("hitch --version", r"hitch (\S+)")),
        Peer("stunnel", "stunnel", [("stunnel.conf", "stunnel4 CONFIG")], ("stunnel4 -version", r"stunnel (\S+)")),
        Peer("xinetd", "xinetd", [("xinetd.conf", "xinetd -dontfork -f CONFIG -pidfile CONFIG.pid")],
             ("xinetd -version", r"(\d\S*)")),
    )
}
