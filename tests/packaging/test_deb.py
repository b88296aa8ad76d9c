"""`make deb`: the package goes through install, start by hand, upgrade, remove and purge in a Debian of its own."""
from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from shipper import __version__
from tests.packaging.manifests import ROOT
from tests.support.agent import eventually

DEB = ROOT / "packaging/deb"
CONFIG = """\
sources: {app: {type: files, include: [/var/log/app/*.log]}}
sinks: {archive: {type: file, path: /srv/out.ndjson, start_at: oldest}}
admin: {listen: null}
"""


def run(*argv: str | Path, **settings: object) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **settings)    # type: ignore[call-overload]
    assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
    return str(done.stdout)


def test_the_scripts_are_shell_that_dash_understands():
    for path in (DEB / "build.sh", *(DEB / "debian" / name for name in ("postinst", "prerm", "postrm"))):
        run("sh", "-n", path)
        assert os.access(path, os.X_OK) and re.search(r"^set -eu?$", path.read_text(), re.M)


def test_each_conffile_is_one_that_the_build_puts_there():
    build = (DEB / "build.sh").read_text()
    for path in (DEB / "debian/conffiles").read_text().split():
        assert f'"$root{path}"' in build


def test_it_is_built_from_the_lock_by_hash():
    build = (DEB / "build.sh").read_text()
    for line in re.findall(r"^\$pip install .*", build, re.M):
        assert "--require-hashes" in line or "--no-index" in line, line


def test_it_brings_every_page_at_the_path_that_messages_and_runbooks_name():
    listed = re.search(r"^for page in (.*) \$\(find (.*) -type f\); do$", (DEB / "build.sh").read_text(), re.M)
    assert listed is not None and all((ROOT / page).is_file() for page in listed[1].split())
    assert listed[2].split() == ["docs", "config", "packaging/monitoring"]
    named = re.search(r"^Documentation=file:///usr/share/doc/shipper/(.*)$", (ROOT / "systemd/shipper.service").read_text(), re.M)
    assert named is not None and (ROOT / named[1]).is_file()


class Debian:
    """A Debian in a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.agents: list[subprocess.Popen[bytes]] = []

    def run(self, *argv: str) -> str:
        return run("chroot", self.root, *argv, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive"})

    def files(self) -> set[str]:
        """Every path but those that dpkg itself keeps."""
        found = run("find", self.root, "-xdev", "-printf", "%P\n").splitlines()
        return {path for path in found if not path.startswith(("var/lib/dpkg", "var/log", "var/cache", "proc", "srv", "tmp"))}

    def start(self) -> subprocess.Popen[bytes]:
        log = os.open(self.root / "srv/agent.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        agent = subprocess.Popen(["chroot", self.root, "/usr/bin/shipper", "run", "-c", "/etc/shipper/shipper.yaml"], stderr=log)
        os.close(log)
        self.agents.append(agent)
        return agent

    def stop(self) -> None:
        self.agents[-1].terminate()
        assert self.agents[-1].wait(40) == 0

    def delivered(self, count: int) -> list[str]:
        out = self.root / "srv/out.ndjson"

        def look() -> list[str]:
            lines = out.read_text().splitlines() if out.exists() else []
            return [json.loads(line)["message"] for line in lines] if len(lines) >= count else []

        return eventually(f"{count} records", look, else_say=(self.root / "srv/agent.log").read_text)


@pytest.fixture
def debian(tmp_path: Path) -> Iterator[Debian]:
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    root = tmp_path / "debian"
    mirror = run("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages").split()[0]
    release = run("sh", "-c", ". /etc/os-release; echo $VERSION_CODENAME").strip()
    run("debootstrap", "--variant=minbase", "--include=python3", release, root, mirror, timeout=900)
    mounted = subprocess.run(["mount", "-t", "proc", "proc", root / "proc"], capture_output=True, check=False)
    if mounted.returncode != 0:
        pytest.skip("mounting /proc in the chroot is refused here")
    made = Debian(root)
    yield made
    for agent in made.agents:
        if agent.poll() is None:
            agent.kill()
            agent.wait()
    run("umount", root / "proc")


def newer(package: Path, directory: Path) -> Path:
    """The same package as a later version."""
    run("dpkg-deb", "-R", package, directory / "x")
    control = directory / "x/DEBIAN/control"
    control.write_text(control.read_text().replace(f"Version: {__version__}\n", f"Version: {__version__}+next\n"))
    run("dpkg-deb", "--root-owner-group", "-Znone", "--build", directory / "x", directory / "next.deb")
    return directory / "next.deb"


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_install_start_by_hand_upgrade_with_state_kept_and_purge(debian: Debian, tmp_path: Path):
    run("make", "deb", cwd=ROOT, env={**os.environ, "OUT": str(tmp_path), "PYTHON": "python3"}, timeout=600)
    (package,) = tmp_path.glob("shipper_*.deb")
    before = debian.files()

    shutil.copy(package, debian.root / "tmp/1.deb")
    assert "SYSLOG_ADDRESS" in debian.run("dpkg", "-i", "/tmp/1.deb")
    assert debian.run("shipper", "--version") == f"shipper {__version__}\n"
    config = debian.root / "etc/shipper/shipper.yaml"
    assert config.read_text() == (ROOT / "config/bare-host.yaml").read_text()
    refused = subprocess.run(["chroot", debian.root, "shipper", "check", "-c", "/etc/shipper/shipper.yaml"],
                             capture_output=True, text=True, check=False)
    assert refused.returncode == 2 and "SYSLOG_ADDRESS is not set" in refused.stderr

    config.write_text(CONFIG)
    log = debian.root / "var/log/app/a.log"
    log.parent.mkdir()
    log.write_text("one\ntwo\n")
    debian.start()
    assert debian.delivered(2) == ["one", "two"]
    assert "healthy, ready" in debian.run("shipper", "status")
    debian.stop()
    assert not list((debian.root / "usr/lib/shipper").rglob("*.pyc.*"))

    shutil.copy(newer(package, tmp_path), debian.root / "tmp/2.deb")
    debian.run("dpkg", "-i", "--force-confdef", "--force-confold", "/tmp/2.deb")
    assert config.read_text() == CONFIG
    log.write_text("one\ntwo\nthree\n")
    debian.start()
    assert debian.delivered(3) == ["one", "two", "three"], "state was kept: nothing came twice"
    debian.stop()

    debian.run("dpkg", "--remove", "shipper")
    assert config.exists() and (debian.root / "var/lib/shipper/positions.json").exists()
    assert not (debian.root / "usr/lib/shipper").exists()
    debian.run("dpkg", "--purge", "shipper")
    assert debian.files() - before == set()
    assert before - debian.files() == set()
