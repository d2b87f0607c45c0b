# SPDX-License-Identifier: MIT
"""Upstreams by name, where it gets difficult."""
import servers
from harness import ask, config, ended, listener, proxy, read_all, wait_until


def named(dns, *upstreams, **resolver):
    """A configuration with the test's name server."""
    return {
        "listeners": {"web": listener(proxy(*upstreams))}, "workers": 1,
        "resolver": {"servers": [dns.address], "timeout": "500ms", "tries": 2, "ttl_min": "1s", **resolver},
    }


def test_an_alias_counts_for_its_own_ttl(usherd, serve, dns):
    first = serve(servers.says(b"first"))
    serve(servers.says(b"second"), address=("127.0.0.2", first.port))
    dns.aliases["up.test"] = ("one.test", 1)
    dns.names["one.test"] = [("127.0.0.1", 3600)]
    dns.names["two.test"] = [("127.0.0.2", 3600)]
    daemon = usherd(**named(dns, f"up.test:{first.port}"))
    assert read_all(daemon.connect("web")) == b"first"
    dns.aliases["up.test"] = ("two.test", 1)
    wait_until(lambda: read_all(daemon.connect("web")) == b"second", "the alias to be asked for again")


def test_ttl_max_bounds_what_a_server_says(usherd, serve, dns):
    first = serve(servers.says(b"first"))
    serve(servers.says(b"second"), address=("127.0.0.2", first.port))
    dns.names["up.test"] = [("127.0.0.1", 86400)]
    daemon = usherd(**named(dns, f"up.test:{first.port}", ttl_max="1s"))
    assert read_all(daemon.connect("web")) == b"first"
    dns.names["up.test"] = [("127.0.0.2", 86400)]
    wait_until(lambda: read_all(daemon.connect("web")) == b"second", "the name to be asked for again")


def test_an_answer_that_comes_over_tcp(usherd, serve, dns):
    """Many addresses; the one that serves is far behind."""
    upstream = serve(servers.echo, address=("127.0.0.1", 0))
    dead = [(f"127.0.1.{i}", 60) for i in range(1, 41)]
    dns.names["up.test"] = [*dead, ("127.0.0.1", 60)]
    dns.long.add("up.test")
    daemon = usherd(**named(dns, f"up.test:{upstream.port}"))
    for _ in range(3):
        assert ask(daemon.connect("web")) == b"hello"


def test_a_reload_replaces_a_dead_name_server_at_once(usherd, serve, dns):
    """Also for who waits for the dead one, and while there are others who do."""
    upstream = serve(servers.echo)
    good = servers.Dns()
    names = [f"n{i}.test" for i in range(4)]
    for name in names:
        dns.silent.add(name)
        good.names[name] = [("127.0.0.1", 60)]
    listeners = {name[:2]: listener(proxy(f"{name}:{upstream.port}"), timeouts={"connect": "1min"}) for name in names}
    settings = {"timeout": "30s", "tries": 3}
    daemon = usherd(listeners, workers=1, resolver={"servers": [dns.address], **settings})
    socks = [daemon.connect(name[:2]) for name in names]
    with dns.changed:
        assert dns.changed.wait_for(lambda: len({name for name, _ in dns.queries}) == len(names), 30)
    assert daemon.reload(config(listeners, workers=1, resolver={"servers": [good.address], **settings})).ok
    for sock in socks:
        assert ask(sock) == b"hello"
    good.stop()


def test_a_name_server_that_cannot_be_used_is_not_replaced_by_another(usherd, dns, folder):
    """With a zone it is refused when the file is read, and not by asking the system's servers instead."""
    from harness import run

    code, _, err = run("--check", text=config({"web": listener(proxy("up.test:1"))}, resolver={"servers": ["fe80::1%lo"]}), folder=folder)
    assert code == 2 and "resolver.servers" in err
    daemon = usherd(**named(dns, "up.test:1"))
    assert ended(daemon.connect("web")) == "reset"
    daemon.wait_closed("upstream_unresolved")


def test_a_reload_in_the_middle_of_an_answer(usherd, serve, dns):
    """The addresses of one family have come, those of the other have not; and each of them fails at once."""
    dns.silent_kinds.add("AAAA")
    names = ["a.test", "b.test", "c.test"]
    for name in names:
        dns.names[name] = [("255.255.255.255", 60)]
    listeners = {"web": listener(proxy(*(f"{name}:1" for name in names)), timeouts={"connect": "1min"})}
    settings = {"servers": [dns.address], "timeout": "30s", "tries": 2}
    daemon = usherd(listeners, workers=1, resolver=settings)
    socks = []
    for reload in range(4):
        socks.append(daemon.connect("web"))
        asked = len(dns.queries)
        wait_until(lambda: dns.count("a.test", "A") + dns.count("b.test", "A") + dns.count("c.test", "A") > reload)
        assert daemon.reload(config(listeners, workers=1, drain_timeout=f"{reload + 2}s", resolver=settings)).ok
        wait_until(lambda: len(dns.queries) > asked, "to be asked anew")
    dns.silent_kinds.clear()
    assert daemon.reload(config(listeners, workers=1, resolver=settings)).ok
    for sock in socks:
        assert ended(sock) == "reset"
    daemon.wait_closed("upstream_unreachable", len(socks))
