# SPDX-License-Identifier: MIT
"""The kinds of log records, their fields, and the journal's catalog, which explains them."""
import re
import pathlib
import shutil
import subprocess

import pytest

import kinds

CATALOG = kinds.TREE / "systemd/usher.catalog"
SOURCES = [path.read_text(encoding="utf-8") for path in sorted(kinds.TREE.glob("src/*/*.c"))]


def entries(text):
    """MESSAGE_ID -> (headers, explanation)."""
    found = {}
    for entry in re.split(r"^-- ", text, flags=re.M)[1:]:
        message_id, _, rest = entry.partition("\n")
        head, _, explanation = rest.partition("\n\n")
        assert message_id not in found, message_id
        found[message_id] = (dict(line.split(": ", 1) for line in head.splitlines()), explanation)
    return found


def test_each_kind_has_an_id_of_its_own():
    known = kinds.log_kinds()
    assert len(known) > 30
    for kind in known:
        # as systemd-id128 makes them: of version 4
        assert re.fullmatch(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}", kind.message_id), kind.name
        assert kind.meaning.endswith("."), kind.name
    assert len({kind.message_id for kind in known}) == len({kind.name for kind in known}) == len(known)


def test_each_kind_is_logged():
    text = "".join(SOURCES)
    used = set(re.findall(r"\bLOG_([A-Z_]+)\b", text))
    assert {kind.name for kind in kinds.log_kinds()} <= used


def test_fields_are_in_their_table():
    named = kinds.log_fields()
    assert len(set(named)) == len(named)
    used = set()
    for text in SOURCES:
        used |= set(re.findall(r'(?:log_field|add_text_field)\(\s*&?\w+,\s*"([A-Z_]+)"', text))
    used |= {"USHER_DELAY_MS"}
    assert used == set(named)
    of_kinds = {field for kind in kinds.log_kinds() for field in kind.required | kind.optional}
    assert of_kinds | kinds.ANY == set(named)


def test_the_catalog_has_each_kind_and_no_other():
    assert list(entries(CATALOG.read_text(encoding="utf-8"))) == [kind.message_id for kind in kinds.log_kinds()]


@pytest.mark.parametrize("kind", kinds.log_kinds(), ids=lambda kind: kind.name)
def test_the_catalog_explains(kind):
    headers, explanation = entries(CATALOG.read_text(encoding="utf-8"))[kind.message_id]
    assert set(headers) == {"Subject", "Defined-By", "Documentation"}
    assert len(explanation) > 40
    assert max(map(len, explanation.splitlines())) <= 90
    # of those that a record may lack, journalctl would show the name
    used = set(re.findall(r"@([A-Z_]+)@", headers["Subject"] + explanation))
    assert used <= kind.required, used - kind.required
    assert "@" not in re.sub(r"@[A-Z_]+@", "", explanation)


@pytest.mark.programs("journalctl")
def test_journalctl_takes_the_catalog(folder):
    folder = pathlib.Path(folder)
    for place in ("usr/lib/systemd/catalog", "var/lib/systemd/catalog"):
        (folder / "root" / place).mkdir(parents=True)
    shutil.copy(CATALOG, folder / "root/usr/lib/systemd/catalog/usher.catalog")

    def journalctl(*args):
        done = subprocess.run(["journalctl", f"--root={folder}/root", *args], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0 and not done.stderr, done
        return done.stdout

    journalctl("--update-catalog")
    assert len(journalctl("--list-catalog").splitlines()) == len(kinds.log_kinds())
    written = entries(CATALOG.read_text(encoding="utf-8"))
    for message_id, (headers, explanation) in entries(journalctl("--dump-catalog")).items():
        assert headers == written[message_id][0]
        assert explanation.strip() == written[message_id][1].strip()
