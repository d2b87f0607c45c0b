# SPDX-License-Identifier: MIT
"""Debian packages of this tree: built as Debian builds them, and made older."""
import hashlib
import os
import pathlib
import re
import shutil
import subprocess

TOP = pathlib.Path(__file__).resolve().parents[2]
FOLDER = TOP / "build" / "boot"
BUILD_SECONDS = 900


def tree_files():
    """What belongs to the tree: not what builds leave in it."""
    for folder, folders, files in os.walk(TOP):
        inside = pathlib.Path(folder).relative_to(TOP)
        folders[:] = [f for f in folders if f not in (".git", "__pycache__", ".pytest_cache") and (inside / f).as_posix() != "build"]
        for file in files:
            if file != ".git":
                yield (inside / file).as_posix()


def copy_tree(to):
    """A copy of the tree in which what was built for the package before stays, as long as make can tell what of it is old."""
    ruling = hashlib.sha256(b"".join((TOP / f).read_bytes() for f in ("debian/rules", "Makefile"))).hexdigest()
    mark = to / "build" / "made-by"
    keep = mark.exists() and mark.read_text(encoding="ascii") == ruling
    to.mkdir(parents=True, exist_ok=True)
    for there in to.iterdir():
        if there.name != "build" or not keep:
            shutil.rmtree(there) if there.is_dir() else there.unlink()
    for file in tree_files():
        (to / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(TOP / file, to / file, follow_symlinks=False)
    mark.parent.mkdir(exist_ok=True)
    mark.write_text(ruling, encoding="ascii")


def build():
    """The package usher, as a file. Only what has changed since the last time is compiled."""
    copy_tree(FOLDER / "tree")
    for old in FOLDER.glob("usher*_*"):
        old.unlink()
    options = f"nocheck noautodbgsym parallel={os.cpu_count()}"
    made = subprocess.run(["dpkg-buildpackage", "-b", "-nc", "-uc", "-us"], cwd=FOLDER / "tree", check=False, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=BUILD_SECONDS,
                          env={**os.environ, "DEB_BUILD_OPTIONS": options, "DEB_BUILD_PROFILES": "nocheck", "MAKEFLAGS": "", "MFLAGS": ""})
    assert made.returncode == 0, "dpkg-buildpackage failed:\n" + "\n".join(made.stdout.splitlines()[-40:])
    (deb,) = FOLDER.glob("usher_*.deb")
    return deb


def field(deb, name):
    return subprocess.run(["dpkg-deb", "-f", str(deb), name], check=True, capture_output=True, text=True).stdout.strip()


def depends(deb):
    """The names of the packages that it needs, the first where it has a choice."""
    return [re.split(r"[ |(:]", part.strip())[0] for part in field(deb, "Depends").split(",") if part.strip()]


def older(deb, to):
    """The same package with a lower version, as if it had been built before: $USHER_PREVIOUS_DEB, or made of this one."""
    previous = os.environ.get("USHER_PREVIOUS_DEB")
    if previous:
        return pathlib.Path(previous)
    tree = to / "older"
    subprocess.run(["dpkg-deb", "-R", str(deb), str(tree)], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^(Version: .*)$", r"\1~0older", control.read_text(encoding="utf-8")), encoding="utf-8")
    result = to / "usher-older.deb"
    subprocess.run(["dpkg-deb", "-Zgzip", "-b", str(tree), str(result)], check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(tree)
    return result
