# SPDX-License-Identifier: MIT
"""What is measured. A work is a function that lets one candidate do its thing once, and returns its figures."""
import json
import re
import time

from machine import BINS, Failure, Process, Window, answers, pss_kib, run, wait_for
from peers import Running

PLAIN = ("usherd", "haproxy", "nginx", "socket-proxyd")
TLS = ("usherd", "haproxy", "nginx", "hitch", "stunnel")
LOAD = BINS / "load"
TLS_LOAD = BINS / "tls_load"
GIB = 1 << 30


class Work:
    """`figures` are (key, title); the first is the one that candidates are compared by. Lower is better, but for rates."""

    def __init__(self, name, title, figures, candidates, measure, quick=True, rounds=None, fresh=False, prepare=None, without=""):
        self.name = name
        self.title = title
        self.figures = figures
        self.candidates = candidates
        self.measure = measure
        self.quick = quick  # in a quick run too
        self.rounds = rounds  # at most, where a figure hardly varies
        self.fresh = fresh  # starts candidates itself
        self.prepare = prepare
        self.without = without  # who cannot, and why


def settle():
    """What is left to do of connections that have ended belongs to what was measured."""
    time.sleep(0.1)


def per(window, count, scale=1.0):
    """CPU time of the candidate a unit."""
    if count <= 0:
        raise Failure("nothing was done")
    used = window.end()
    cpu = used["us"] / count * scale
    return {"cpu": cpu, "cpu_user": cpu * used["user_share"], "cpu_system": cpu * (1 - used["user_share"]),
            "others": used["others"]}


# ---- requests, by wrk


def wrk(bench, port, *options, scheme="http"):
    """Returns requests and seconds; whatever failed is an error."""
    said = run(["wrk", "-t1", f"-d{max(1, round(bench.seconds))}s", "--timeout", "20s", *options, f"{scheme}://127.0.0.1:{port}/"], bench.folder)
    found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m)\b", said)
    if not found or "Socket errors" in said or "Non-2xx" in said:
        raise Failure(f"wrk: {said.strip()}")
    return int(found.group(1)), float(found.group(2)) * {"ms": 0.001, "s": 1, "m": 60}[found.group(3)]


def by_wrk(role, *options, scheme="http"):
    def measure(bench, candidate):
        window = Window(candidate.roots())
        requests, seconds = wrk(bench, candidate.port(role), *options, scheme=scheme)
        settle()
        return {**per(window, requests), "rate": requests / seconds}

    return measure


# ---- the same by load: what it cost alone, without connecting


class Kept:
    """`load` with connections that are open."""

    def __init__(self, bench, name, *args):
        self.process = Process(f"load-{name}", [LOAD, *args], bench.folder, talks=True)

    def __enter__(self):
        self.process.line()
        return self

    def __exit__(self, *_):
        self.process.stop()

    def go(self):
        self.process.say()
        return json.loads(self.process.line())


def closed(bench, candidate, role, connections, seconds=None):
    with Kept(bench, "closed", "closed", candidate.port(role), connections, seconds or bench.seconds) as kept:
        window = Window(candidate.roots())
        result = kept.go()
        figures = per(window, result["count"])
        kept.process.leave()
    return {**figures, "rate": result["count"] / result["seconds"]}


def kept_requests(role, connections):
    return lambda bench, candidate: closed(bench, candidate, role, connections)


def fixed_rate(rate_of):
    def measure(bench, candidate):
        rate = rate_of(bench)
        with Kept(bench, "rate", "rate", candidate.port("talk"), 64, bench.seconds, rate) as kept:
            window = Window(candidate.roots())
            result = kept.go()
            figures = per(window, result["count"])
            kept.process.leave()
        if result["count"] != int(rate * bench.seconds):
            raise Failure(f"{result['count']} answers of {rate * bench.seconds}")
        return {**figures, "offered": rate, **{key: result[key] for key in ("p50", "p99", "p999")}}

    return measure


def calibrate(bench, candidates):
    """80% of what the slowest of them can do."""
    rates = [closed(bench, candidate, "talk", 64)["rate"] for candidate in candidates for _ in range(1 if bench.quick else 3)]
    bench.high_rate = max(1000, int(min(rates) * 0.8))


# ---- connections


def visits(kind, role, at_once, *options):
    def measure(bench, candidate):
        window = Window(candidate.roots())
        result = json.loads(run([LOAD, "visits", kind, candidate.port(role), at_once, bench.seconds, *options], bench.folder))
        settle()
        return {**per(window, result["count"]), "rate": result["count"] / result["seconds"]}

    return measure


def storm(bench, candidate):
    window = Window(candidate.roots())
    result = json.loads(run([LOAD, "storm", candidate.port("talk"), 3000, 10000], bench.folder))
    settle()
    if result["count"] != 10000:
        raise Failure(f"{result['count']} of 10000 connections were served")
    return {**per(window, 10000), "seconds": result["seconds"] * 1000, **{key: result[key] / 1000 for key in ("p99", "max")}}


# ---- bulk


def bulk(mode, streams):
    def measure(bench, candidate):
        each = bench.bulk_mib // (streams if streams > 1 else 2)
        window = Window(candidate.roots())
        result = json.loads(run([LOAD, mode, candidate.port("talk"), streams, each], bench.folder))
        settle()
        return {**per(window, result["count"], GIB / 1000), "rate": result["count"] / result["seconds"] / (1 << 20)}

    return measure


def send(bench, candidate):
    window = Window(candidate.roots())
    result = json.loads(run([LOAD, "send", candidate.port("discard"), bench.bulk_mib // 2], bench.folder))
    settle()
    return {**per(window, result["count"], GIB / 1000), "rate": result["count"] / result["seconds"] / (1 << 20)}


# ---- TLS


def tls_run(bench, candidate, role, mode, loops):
    said = run([TLS_LOAD, mode, candidate.port(role), bench.seconds, loops, bench.tls], bench.folder).split(" ", 1)
    agreed = bench.agreed.setdefault((mode, role), said[1].strip())
    if said[1].strip() != agreed:
        raise Failure(f"agreed on {said[1].strip()}, others on {agreed}")
    return int(said[0])


def handshakes(role, mode):
    def measure(bench, candidate):
        window = Window(candidate.roots())
        began = time.monotonic()
        count = tls_run(bench, candidate, role, mode, 4)
        took = time.monotonic() - began
        settle()
        return {**per(window, count), "rate": count / took}

    return measure


def tls_bulk(mode):
    def measure(bench, candidate):
        window = Window(candidate.roots())
        began = time.monotonic()
        count = tls_run(bench, candidate, "tls", mode, 4)
        took = time.monotonic() - began
        settle()
        return {**per(window, count, GIB / 1000), "rate": count / took / (1 << 20)}

    return measure


# ---- memory


def counts_of(bench, peer, most):
    """Some sizes of a crowd, as far as the candidate's descriptors allow."""
    limit = min(most, (bench.files - 1000) // peer.files)
    return [n for n in (100, 1000, 3000, 9000) if n < limit] + [limit]


def idle(bench, peer):
    """A daemon of its own: memory that others left behind would be used again."""
    candidate = Running(peer, bench, "-idle")
    try:
        # what is made once is made now
        warm = Process("load-warm", [LOAD, "idle", candidate.port("talk"), 16], bench.folder, talks=True)
        warm.line()
        warm.leave()
        time.sleep(0.5)
        base = pss_kib(candidate.roots())
        curve = {0: base}
        counts = counts_of(bench, peer, bench.pairs)
        crowd = Process("load-idle", [LOAD, "idle", candidate.port("talk"), *counts], bench.folder, talks=True)
        for count in counts:
            if crowd.line() != f"open {count}":
                raise Failure("the crowd is smaller than it should be")
            time.sleep(0.5)
            curve[count] = pss_kib(candidate.roots())
            crowd.say()
        crowd.leave()
        return {"memory": (curve[counts[-1]] - base) / counts[-1], "base": base / 1024, "at": counts[-1], "curve": curve}
    finally:
        candidate.stop()


def tls_idle(bench, peer):
    candidate = Running(peer, bench, "-idle")
    try:
        count = bench.tls_pairs

        def crowd(size, pause):
            clients = Process("tls-idle", [TLS_LOAD, "idle", candidate.port("tls"), size, bench.tls], bench.folder, talks=True)
            clients.line()
            time.sleep(pause)
            memory = pss_kib(candidate.roots())
            clients.leave()
            return memory

        crowd(16, 0)  # as above
        time.sleep(0.3)
        base = pss_kib(candidate.roots())
        # who gives memory back when a connection has been idle for a while, may do so
        return {"memory": (crowd(count, 3) - base) / count, "base": base / 1024, "at": count}
    finally:
        candidate.stop()


# ---- start and reload


def many(bench, peer):
    """1,000 listeners: until the last answers; then a reload with one more, until that answers."""
    first = bench.ports.take(1001)
    ports = list(range(first, first + 1001))
    began = time.monotonic()
    candidate = Running(peer, bench, "-many", many=ports[:1000])
    try:
        wait_for(lambda: answers(ports[999]), f"{peer.name} with 1,000 listeners", 60)
        started = time.monotonic() - began
        time.sleep(0.5)
        start_cpu = Window(candidate.roots()).cpu
        window = Window(candidate.roots())
        candidate.write(ports)
        began = time.monotonic()
        candidate.processes[0].popen.send_signal(peer.reload)
        wait_for(lambda: answers(ports[1000]), f"{peer.name} to reload", 60)
        reloaded = time.monotonic() - began
        time.sleep(0.5)
        used = window.end()
        return {"start": started * 1000, "start_cpu": start_cpu.ns / 1e6, "reload": reloaded * 1000,
                "reload_cpu": used["us"] / 1000, "others": used["others"]}
    finally:
        candidate.stop()


# ---- how cost grows


def growth(bench, candidate):
    """CPU a request over the number of connections that ask."""
    curve, others = {}, []
    for count in bench.growth:
        if count <= (bench.files - 1000) // candidate.peer.files:
            figures = closed(bench, candidate, "talk", count)
            curve[count] = figures["cpu"]
            others.append(figures["others"])
    return {"cpu": curve[max(curve)], "curve": curve, "at": max(curve), "others": max(others)}


COST = (("cpu", "CPU (us)"), ("rate", "a second"))
BULK = (("cpu", "CPU a GiB (ms)"), ("rate", "MiB a second"))
STORM = (("cpu", "CPU each (us)"), ("seconds", "all served (ms)"), ("p99", "p99 (ms)"), ("max", "longest (ms)"))
MANY = (("start", "start (ms)"), ("start_cpu", "CPU of it (ms)"), ("reload", "reload (ms)"), ("reload_cpu", "CPU of the reload (ms)"))
MEMORY = (("memory", "KiB each"), ("base", "MiB at first"), ("at", "connections"))
FIXED = (("p99", "p99 (us)"), ("p50", "p50 (us)"), ("p999", "p99.9 (us)"), ("cpu", "CPU (us)"), ("offered", "a second"))
SPLICING = ("usherd", "haproxy", "haproxy-splice", "nginx", "socket-proxyd")
TWO = ("usherd", "xinetd")
WORKS = [
    Work("request", "a small request, 64 kept connections (wrk)", COST, PLAIN, by_wrk("web", "-c64")),
    Work("request-1000", "a small request, 1,000 kept connections (wrk)", COST, PLAIN, by_wrk("web", "-c1000"), quick=False),
    Work("connection", "a connection with one request (wrk)", COST, PLAIN, by_wrk("web", "-c32", "-H", "Connection: close")),
    Work("refused", "a connection refused for its address", COST, ("usherd", "haproxy", "nginx", "xinetd"),
         visits("refused", "refuse", 32, "127.0.0.2"), without="socket-proxyd refuses nobody"),
    Work("storm", "10,000 connections, 3,000 at once", STORM, PLAIN, storm),
    Work("download", "8 streams to the client", BULK, SPLICING, bulk("download", 8)),
    Work("upload", "8 streams from the client", BULK, SPLICING, bulk("upload", 8)),
    Work("single", "one stream to the client", BULK, SPLICING, bulk("download", 1), quick=False),
    Work("latency", "5,000 requests a second, 64 connections", FIXED, PLAIN, fixed_rate(lambda bench: 5000)),
    Work("latency-80", "requests at 80% of what the slowest can do", FIXED, PLAIN, fixed_rate(lambda bench: bench.high_rate),
         prepare=calibrate),
    Work("idle", "memory of an idle connection", MEMORY, PLAIN, idle, rounds=3, fresh=True),
    Work("growth", "a small request, as many connections as there can be", (("cpu", "CPU (us)"), ("at", "connections")), PLAIN,
         growth, rounds=3),
    Work("many", "1,000 listeners", MANY, ("usherd", "haproxy", "nginx"), many, fresh=True,
         without="socket-proxyd is a process a listener"),
    Work("tls-full", "a connection with a full handshake, ECDSA", COST, TLS, handshakes("tls", "full")),
    Work("tls-full-rsa", "a connection with a full handshake, RSA", COST, TLS, handshakes("tls_rsa", "full"), quick=False),
    Work("tls-resumed", "a connection with a resumed handshake", COST, TLS, handshakes("tls", "resumed")),
    Work("tls-request", "a small request, 64 kept TLS connections (wrk)", COST, TLS, by_wrk("tls_web", "-c64", scheme="https")),
    Work("tls-download", "4 TLS streams to the client", BULK, TLS, tls_bulk("download")),
    Work("tls-upload", "4 TLS streams from the client", BULK, TLS, tls_bulk("upload")),
    Work("tls-idle", "memory of an idle TLS connection", MEMORY, TLS, tls_idle, rounds=3, fresh=True),
    Work("echo", "a small request to echo, 64 kept connections", COST, TWO, kept_requests("echo", 64)),
    Work("echo-connection", "a connection to echo with one request", COST, TWO, visits("exchange", "echo", 32)),
    Work("daytime", "a connection to daytime", COST, TWO, visits("answer", "daytime", 32)),
    Work("discard", "one stream to discard", BULK, TWO, send, quick=False),
]
