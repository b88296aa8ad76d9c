"""packaging/Dockerfile and its locks. There is no docker engine in the suite: the file is linted, read, and its steps are run in
a virtual environment."""
from __future__ import annotations

import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shipper import __version__
from tests.packaging.manifests import KUBERNETES, ROOT

PACKAGING = ROOT / "packaging"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def instructions() -> list[tuple[str, str]]:
    """(INSTRUCTION, arguments) of the Dockerfile, continued lines joined, comments left out."""
    lines = [line for line in (PACKAGING / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines()
    return [(line.split(" ", 1)[0], line.split(" ", 1)[1]) for line in joined if line.strip()]


def locked(name: str) -> dict[str, tuple[str, int]]:
    """package -> (version, number of hashes)"""
    found: dict[str, tuple[str, int]] = {}
    for entry in re.split(r"\n(?=\S)", (PACKAGING / name).read_text()):
        pinned = re.match(r"([A-Za-z0-9._-]+)==([^\s;]+)", entry)
        if pinned:
            found[canonicalize_name(pinned[1])] = (pinned[2], entry.count("--hash=sha256:"))
    return found


def wanted() -> list[Requirement]:
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    return [Requirement(each) for each in (*project["dependencies"], *extras["fast"], *extras["gcp"], *extras["re2"])]


def test_the_dockerfile_has_no_fault_that_hadolint_knows():
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, PACKAGING / "Dockerfile"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_agent_is_the_first_process_without_a_shell():
    kinds = dict(instructions())
    assert json.loads(kinds["ENTRYPOINT"]) == ["/opt/shipper/bin/shipper"]
    assert json.loads(kinds["CMD"]) == ["run", "-c", "/etc/shipper/shipper.yaml"]
    assert kinds["USER"] == "65532:65532"


def test_malloc_is_left_to_the_agent():
    for kind, arguments in instructions():
        assert kind != "ENV" or "MALLOC" not in arguments
    for path in (*KUBERNETES.rglob("*.yaml"), *(ROOT / "systemd").iterdir()):
        assert "MALLOC" not in path.read_text()


def test_the_version_is_the_same_everywhere():
    labels = " ".join(arguments for kind, arguments in instructions() if kind == "LABEL")
    assert f'org.opencontainers.image.version="{__version__}"' in labels
    for path in (KUBERNETES / "base", KUBERNETES / "overlays/sidecar"):
        (image,) = yaml.safe_load((path / "kustomization.yaml").read_text())["images"]
        assert (image["name"], image["newTag"]) == ("shipper", __version__)


def test_every_package_is_taken_by_its_hash():
    for kind, arguments in instructions():
        for command in re.findall(r"pip[^&]* install [^&]*", arguments) if kind == "RUN" else ():
            assert "--require-hashes" in command or "--no-index" in command, command


def test_what_is_copied_is_let_through_and_there():
    let_through = {line[1:] for line in (PACKAGING / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for kind, arguments in instructions() if kind == "COPY" and "--from" not in arguments
              for source in arguments.split()[:-1]}
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)


class TestLock:
    def test_satisfies_pyproject(self):
        lock = locked("requirements.lock")
        for requirement in wanted():
            version, _ = lock[canonicalize_name(requirement.name)]
            assert requirement.specifier.contains(version), f"{requirement}: {version}; make it again: packaging/README.md"

    def test_has_all_that_these_need_in_turn_and_nothing_else(self):
        needed, left = set[str](), [(each.name, each.extras) for each in wanted()]
        while left:
            name, extras = left.pop()
            needed.add(canonicalize_name(name))
            for text in importlib.metadata.requires(name) or ():
                each = Requirement(text)
                if each.marker is None or any(each.marker.evaluate({"extra": extra}) for extra in (*extras, "")):
                    left += [(each.name, each.extras)] if canonicalize_name(each.name) not in needed else []
        assert needed == set(locked("requirements.lock"))

    @pytest.mark.parametrize("name", ["requirements.lock", "build.lock"])
    def test_has_hashes_for_each(self, name: str):
        assert [package for package, (_, hashes) in locked(name).items() if hashes == 0] == []

    def test_the_build_has_its_backend(self):
        (backend,) = [Requirement(each) for each in PYPROJECT["build-system"]["requires"]]
        assert backend.specifier.contains(locked("build.lock")[backend.name][0])


@pytest.mark.long
def test_the_steps_of_the_build_make_an_agent_that_runs(tmp_path: Path):
    """The RUN lines as they stand, on another prefix."""
    opt, pip = tmp_path / "opt", tmp_path / "pip"
    subprocess.run([sys.executable, "-m", "venv", pip], check=True)
    subprocess.run([pip / "bin/pip", "install", "-q", "--upgrade", "pip"], check=True)
    for kind, arguments in instructions():
        if kind != "RUN":
            continue
        for path, there in (("/opt/shipper", opt), ("/wheels", tmp_path / "wheels"), ("/state", tmp_path / "state")):
            arguments = arguments.replace(path, str(there))
        subprocess.run(["sh", "-euc", arguments], cwd=ROOT, check=True, timeout=300,
                       env={"PATH": f"{pip}/bin:/usr/bin:/bin", "PIP_QUIET": "1"})
    done = subprocess.run([opt / "bin/shipper", "--version"], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == f"shipper {__version__}\n"
    assert not (opt / "bin/pip").exists()
