"""Include and exclude patterns (G1, G2 in shipper/discover/globs.py)."""
import os

import pytest

from shipper.discover.globs import compile_pattern, excluder
from shipper.discover.listing import Listings
from shipper.discover.walk import Walk


@pytest.mark.parametrize(("glob", "base"), [
    ("/var/log/containers/*.log", "/var/log/containers"),
    ("/var/log/syslog", "/var/log"),
    ("/var/log/**/*.log", "/var/log"),
    ("/var/log/pods/*/*/*.log", "/var/log/pods"),
    ("/var//log/./x*", "/var/log"),
    ("/*.log", "/"),
    ("/x", "/"),
])
def test_the_base_is_the_directory_before_the_first_wildcard(glob, base):
    assert compile_pattern(glob).base == base


@pytest.mark.parametrize("glob", ["*.log", "", "/", "/var/log/", "relative/x"])
def test_a_pattern_that_names_no_files_is_refused(glob):
    with pytest.raises(ValueError, match="pattern"):
        compile_pattern(glob)


MATCHES = [
    ("/l/*.log", "/l/a.log", True),
    ("/l/*.log", "/l/a/b.log", False),
    ("/l/*.log", "/l/.hidden.log", False),
    ("/l/.*.log", "/l/.hidden.log", True),
    ("/l/*", "/l/a\nb", True),
    ("/l/?.log", "/l/ab.log", False),
    ("/l/[ab].log", "/l/b.log", True),
    ("/l/[!ab].log", "/l/b.log", False),
    ("/l/*/x", "/l/d/x", True),
    ("/l/*/x", "/l/x", False),
    ("/l/**/x", "/l/x", True),
    ("/l/**/x", "/l/a/b/x", True),
    ("/l/**/x", "/l/.a/x", False),
    ("/l/**", "/l/a/b", True),
    ("/l/plain", "/l/plain", True),
    ("/l/plain", "/l/plainer", False),
    ("/l/A.log", "/l/a.log", False),
]


@pytest.mark.parametrize(("glob", "path", "expected"), MATCHES)
def test_testing_a_path_and_walking_say_the_same(tmp_path, glob, path, expected):
    pattern = compile_pattern(f"{tmp_path}{glob}")
    assert pattern.matches(f"{tmp_path}{path}") is expected
    os.makedirs(os.path.dirname(f"{tmp_path}{path}"))
    open(f"{tmp_path}{path}", "w").close()
    assert (f"{tmp_path}{path}" in list(Walk(Listings()).paths(pattern))) is expected


def test_a_double_star_does_not_enter_links_and_a_plain_wildcard_does(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "x.log").write_bytes(b"")
    (tmp_path / "link").symlink_to("real")
    walk = Walk(Listings())
    assert list(walk.paths(compile_pattern(f"{tmp_path}/**/*.log"))) == [f"{tmp_path}/real/x.log"]
    assert f"{tmp_path}/link" not in walk.consulted
    found = sorted(Walk(Listings()).paths(compile_pattern(f"{tmp_path}/*/*.log")))
    assert found == [f"{tmp_path}/link/x.log", f"{tmp_path}/real/x.log"]


def test_a_walk_stops_at_its_limit_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("shipper.discover.walk.MAX_DIRECTORIES", 3)
    for name in "abcde":
        (tmp_path / name).mkdir()
    walk = Walk(Listings())
    assert list(walk.paths(compile_pattern(f"{tmp_path}/**/*.log"))) == []
    assert (walk.cut, len(walk.consulted)) == (True, 3)


@pytest.mark.parametrize(("globs", "path", "expected"), [
    ((), "/l/a", False),
    (("*_kube-system_*",), "/l/x_kube-system_y.log", True),
    (("*_kube-system_*",), "/l_kube-system_/y.log", False),
    (("/l/a*",), "/l/abc", True),
    (("/l/a*",), "/l/b", False),
    (("/x", "/l/**"), "/l/b/c", True),
])
def test_excluding_by_path_or_by_base_name(globs, path, expected):
    assert excluder(globs)(path) is expected
