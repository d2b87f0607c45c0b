# SPDX-License-Identifier: MIT
"""The configuration file as a user writes it: errors, includes, the traps of libconfig, --dump-config."""
import os
import re
import subprocess

import pytest

from harness import TOP, ask, config, listener, proxy, run

ECHO = 'listeners: { web: { listen = "127.0.0.1:0"; echo: {}; }; };\n'


def errors(folder, text):
    code, out, err = run("--check", text=text, folder=folder)
    assert code == 2, out + err
    return err


@pytest.mark.parametrize("line, path, says", [
    ("worker = 2;", "worker", r"did you mean workers"),
    ("workers = 257;", "workers", r"256"),
    ("workers = -1;", "workers", r"256"),
    ("workers = 2.5;", "workers", r"integer|number"),
    ('workers = "2";', "workers", r"integer|number"),
    ("drain_timeout = 10;", "drain_timeout", r'"10s"|unit'),
    ('drain_timeout = "10";', "drain_timeout", r"s, min, h"),
    ('drain_timeout = "10 parsecs";', "drain_timeout", r"s, min, h"),
    ('drain_timeout = "-1s";', "drain_timeout", r"."),
    ('drain_timeout = "99999999999999999999s";', "drain_timeout", r"."),
    ('log_level = "loud";', "log_level", r"error.*warning.*notice.*info.*debug"),
    ("log_level = true;", "log_level", r"."),
    ('resolver: { servers = [ "nonsense" ]; };', "resolver", r"nonsense"),
    ('resolver: { serves = [ "127.0.0.1" ]; };', "resolver.serves", r"did you mean servers"),
    ("resolver = 3;", "resolver", r"group"),
])
def test_wrong_global_option(folder, line, path, says):
    err = errors(folder, f"{ECHO}\n{line}\n")
    match = re.search(rf"usherd\.conf:3: {re.escape(path)}[^:]*: (.*)", err)
    assert match, err
    assert re.search(says, match.group(1)), err


@pytest.mark.parametrize("number", ["3000000000", "4294967297", "4294967298L", "-2147483649", "0x100000001", "99999999999999999999"])
def test_integers_that_libconfig_would_wrap(folder, number):
    err = errors(folder, f"{ECHO}\nworkers = {number};\n")
    assert re.search(rf"usherd\.conf:3: workers: {number}", err), err
    err = errors(folder, f'listeners: {{ web: {{ listen = "127.0.0.1:0";\n limits: {{ connections = {number}; }}; echo: {{}}; }}; }};\n')
    assert re.search(rf"usherd\.conf:2: listeners\.web\.limits\.connections: {number}", err), err


@pytest.mark.parametrize("body, path, says", [
    ('listen = "127.0.0.1:0";', "", r"service"),
    ('listen = "127.0.0.1:0"; echo: {}; discard: {};', "", r"one service|exactly one|only one|already"),
    ('listen = "127.0.0.1:0"; ehco: {};', ".ehco", r"did you mean echo"),
    ("echo: {};", ".listen", r"must be given"),
    ("listen = []; echo: {};", ".listen", r"."),
    ('listen = "127.0.0.1"; echo: {};', ".listen", r"port"),
    ('listen = "127.0.0.1:65536"; echo: {};', ".listen", r"65535|port"),
    ('listen = "example.org:80"; echo: {};', ".listen", r"."),
    ('listen = "[::1:80"; echo: {};', ".listen", r"."),
    ('listen = "unix:"; echo: {};', ".listen", r"."),
    ('listen = [ 5 ]; echo: {};', ".listen", r"."),
    ('listen = "127.0.0.1:0"; limits: { connectoins = 3; }; echo: {};', ".limits.connectoins", r"did you mean connections"),
    ('listen = "127.0.0.1:0"; limits: { connections = "many"; }; echo: {};', ".limits.connections", r"number|integer"),
    ('listen = "127.0.0.1:0"; timeouts: { idle = "soon"; }; echo: {};', ".timeouts.idle", r"."),
    ('listen = "127.0.0.1:0"; keepalive: { idle = "1500ms"; }; echo: {};', ".keepalive.idle", r"whole seconds"),
    ('listen = "127.0.0.1:0"; nodelay = 1; echo: {};', ".nodelay", r"true"),
    ('listen = "127.0.0.1:0"; receive_buffer = "64"; echo: {};', ".receive_buffer", r"KiB"),
    ('listen = "unix:/run/x"; unix: { mode = "999"; }; echo: {};', ".unix.mode", r"octal"),
    ('listen = "127.0.0.1:0"; proxy: {};', ".proxy.to", r"must be given"),
    ('listen = "127.0.0.1:0"; proxy: { to = []; };', ".proxy.to", r"."),
    ('listen = "127.0.0.1:0"; proxy: { to = [ "127.0.0.1" ]; };', ".proxy", r"port"),
    ('listen = "127.0.0.1:0"; proxy: { to = [ "127.0.0.1:0" ]; };', ".proxy", r"."),
    ('listen = "127.0.0.1:0"; proxy: { too = [ "127.0.0.1:1" ]; };', ".proxy.too", r"did you mean to"),
])
def test_wrong_listener(folder, body, path, says):
    err = errors(folder, f"listeners: {{\n  web: {{\n    {body}\n  }};\n}};\n")
    match = re.search(rf"usherd\.conf:[23]: listeners\.web{re.escape(path)}\S*: (.*)", err)
    assert match, err
    assert re.search(says, match.group(1)), err


@pytest.mark.parametrize("text", [
    "", "listeners: { };", "listeners: {", 'listeners: { web: { listen = "x', "workers = ;", "}", "\x00", "/* no end",
    "workers = 1;\nworkers = 2;\n" + ECHO, "workers = 2" * 2, 'a = [ "x", 5 ];', "a = ( ( ( ( ( (", "\xff\xfe",
])
def test_what_is_no_configuration(folder, text):
    code, _, err = run("--check", text=text, folder=folder)
    assert code == 2 and "usherd.conf" in err, err


def test_duplicate_names_its_place(folder):
    err = errors(folder, "workers = 1;\n\nworkers = 2;\n" + ECHO)
    assert "usherd.conf:3:" in err and "workers" in err


def test_twenty_errors_are_shown(folder):
    text = ECHO + "".join(f"wrong{i} = 1;\n" for i in range(30))
    lines = [line for line in errors(folder, text).splitlines() if "wrong" in line]
    assert len(lines) == 20
    assert "10 more" in errors(folder, text)


def test_all_errors_in_the_order_of_the_file(folder):
    err = errors(folder, 'worker = 1;\ndrain_timeout = 3;\nlisteners: { web: { listen = "127.0.0.1"; echo: {}; }; };\n')
    numbers = [int(n) for n in re.findall(r"usherd\.conf:(\d+):", err)]
    assert sorted(set(numbers)) == [1, 2, 3]


def test_control_characters_of_the_file_do_not_reach_the_terminal(folder):
    err = errors(folder, ECHO + 'log_level = "\x1b[31mred\x07";\n')
    assert "\x1b" not in err and "\x07" not in err
    assert "red" in err


def test_include_of_a_file(folder, usherd):
    with open(f"{folder}/web.conf", "w", encoding="ascii") as file:
        file.write(ECHO)
    daemon = usherd(text=f'{config()}@include "{folder}/web.conf"\n')
    assert ask(daemon.connect("web")) == b"hello"


def test_error_in_an_included_file_names_it(folder):
    with open(f"{folder}/web.conf", "w", encoding="ascii") as file:
        file.write(f"\n\n{ECHO}nonsense = 1;\n")
    err = errors(folder, f'workers = 2;\n@include "{folder}/web.conf"\n\nrubbish = 1;\n')
    assert re.search(r"/web\.conf:4: nonsense", err), err
    assert re.search(r"usherd\.conf:4: rubbish", err), err


def test_include_of_a_directory_in_name_order(folder):
    os.mkdir(f"{folder}/conf.d")
    for name, text in (("20-b.conf", "b: { listen = \"127.0.0.1:2\"; echo: {}; };\n"),
                       ("10-a.conf", "a: { listen = \"127.0.0.1:1\"; echo: {}; };\n"),
                       ("30-c.conf", "c: { listen = \"127.0.0.1:3\"; echo: {}; };\n")):
        with open(f"{folder}/conf.d/{name}", "w", encoding="ascii") as file:
            file.write(text)
    code, out, err = run("--dump-config", text=f'listeners: {{\n@include "{folder}/conf.d"\n}};\n', folder=folder)
    assert code == 0, err
    at = [out.index(f"127.0.0.1:{n}") for n in (1, 2, 3)]
    assert at == sorted(at)


def test_include_that_is_missing(folder):
    err = errors(folder, f'{ECHO}@include "{folder}/none.conf"\n')
    assert "none.conf" in err and "usherd.conf:2" in err


def test_include_of_itself(folder):
    err = errors(folder, f'{ECHO}@include "{folder}/usherd.conf"\n')
    assert "includes itself" in err


def test_one_string_is_a_list_of_one(folder):
    code, _, err = run("--check", text='listeners: { web: { listen = "127.0.0.1:1"; proxy: { to = "[::1]:2"; }; }; };', folder=folder)
    assert code == 0, err


FULL = config(
    {
        "web": listener(
            proxy("127.0.0.1:80", "example.org:81", "unix:/run/x.sock", "unix:@y"), "127.0.0.1:8080", "[::1]:8080", "*:8081",
            backlog=100, reuse_address=False, nodelay=False, defer_accept="3s", user_timeout="1min", receive_buffer="64KiB",
            send_buffer="1MiB", keepalive={"enabled": True, "idle": "90s", "interval": "5s", "count": 4},
            limits={"connections": 77}, timeouts={"idle": "1h 30min", "connect": "250ms", "linger": "0s"},
        ),
        "local": listener("echo", "unix:/run/l.sock", unix={"mode": "0600", "user": "root", "group": "root"}),
        "all": listener("chargen", "*%lo:7019"),
        "passed": listener("daytime", "systemd:day"),
        "bin": listener("discard", "127.0.0.1%lo:9"),
    },
    drain_timeout="1min 30s", log_level="debug", resolver={"servers": ["127.0.0.1:5353"], "timeout": "1s", "tries": 3},
)


def test_dump_config_round_trip(folder):
    code, first, err = run("--dump-config", text=FULL, folder=folder)
    assert code == 0, err
    code, second, err = run("--dump-config", text=first, folder=folder)
    assert code == 0, err
    assert first == second
    for part in ("8080", "1h 30min", "250ms", "unix:@y", "example.org:81", "0600", "77", "debug"):
        assert part in first, part


def test_dump_config_shows_the_defaults(folder):
    code, out, _ = run("--dump-config", text=ECHO, folder=folder)
    assert code == 0
    for part in ('drain_timeout = "10s"', "keepalive", 'idle = "1min"', "nodelay = true", "backlog = 0"):
        assert part in out


def test_dump_config_of_a_wrong_file_fails(folder):
    code, out, err = run("--dump-config", text="worker = 1;\n" + ECHO, folder=folder)
    assert code == 2 and out == "" and "usherd.conf:1" in err


def test_the_shipped_configuration_is_right():
    """That of the demonstration is tested in test_cli.py."""
    code, _, err = run("--check", "--config", str(TOP / "conf" / "usherd.conf"))
    assert code == 0, err


def test_manual_names_every_option(folder):
    """doc/usherd.conf.5 is made from the tables: each option of a full dump stands in it."""
    page = TOP / "build" / "doc" / "usherd.conf.5"
    if not page.exists():
        pytest.skip("the manual is not built")
    _, out, _ = run("--dump-config", text=FULL, folder=folder)
    text = page.read_text(encoding="utf-8")
    for name in set(re.findall(r"^\s+(\w+)\s*[=:]", out, re.M)) - {"web", "local", "all", "passed", "bin"}:
        assert name in text, name


@pytest.mark.programs("make")
def test_install_keeps_a_configuration(folder):
    """make install into DESTDIR: the second time, a changed configuration stays."""
    if "san-" in os.environ.get("USHERD", ""):
        pytest.skip("the normal build is installed")
    # to where it was built for: for another place it would be built anew, while other tests run it
    sysconfdir, sbindir = (TOP / "build" / "places").read_text(encoding="utf-8").split()
    command = ["make", "-C", str(TOP), "install", f"DESTDIR={folder}/root", f"sysconfdir={sysconfdir}", f"sbindir={sbindir}"]
    subprocess.run(command, check=True, capture_output=True)
    assert os.access(f"{folder}/root{sbindir}/usherd", os.X_OK)
    conf = f"{folder}/root{sysconfdir}/usher/usherd.conf"
    with open(conf, "a", encoding="ascii") as file:
        file.write("# mine\n")
    subprocess.run(command, check=True, capture_output=True)
    with open(conf, encoding="ascii") as file:
        assert file.read().endswith("# mine\n")
