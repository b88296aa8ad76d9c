"""Opening what a hostile container may have prepared (O1 to O4 in shipper/discover/open.py; P10 of the design)."""
import errno
import os
import socket
import subprocess
import sys
import time
from collections import Counter

import pytest

from shipper.discover.names import clean
from shipper.discover.open import inside, open_log, resolve_roots
from shipper.errors import FileRefused, RefusedReason


@pytest.fixture
def root(tmp_path):
    directory = tmp_path.resolve() / "pods"
    directory.mkdir()
    return directory


@pytest.fixture
def secret(tmp_path):
    file = tmp_path.resolve() / "secrets" / "0.log"
    file.parent.mkdir()
    file.write_bytes(b"the node's secret\n")
    return file


def open_fds():
    return set(os.listdir("/proc/self/fd"))


def reason_of(path, roots):
    before = open_fds()
    with pytest.raises(FileRefused) as refused:
        open_log(str(path), [str(root) for root in roots])
    assert open_fds() == before, "a descriptor leaked"
    assert clean(str(path))[:50] in str(refused.value)
    return refused.value.reason


def read_and_close(opened):
    try:
        return os.read(opened.fd, 1000)
    finally:
        os.close(opened.fd)


def test_a_regular_file_inside_the_roots_is_opened(root):
    (root / "0.log").write_bytes(b"line\n")
    opened = open_log(str(root / "0.log"), [str(root)])
    assert (opened.stat.st_size, opened.path) == (5, str(root / "0.log"))
    assert os.get_blocking(opened.fd) is False
    assert os.get_inheritable(opened.fd) is False
    assert read_and_close(opened) == b"line\n"


def test_a_file_that_is_deleted_after_opening_is_read_to_its_end(root):
    (root / "0.log").write_bytes(b"line\n")
    opened = open_log(str(root / "0.log"), [str(root)])
    (root / "0.log").unlink()
    assert os.fstat(opened.fd).st_nlink == 0
    assert read_and_close(opened) == b"line\n"


def test_a_file_that_is_deleted_between_taking_hold_and_opening_is_still_opened(root, monkeypatch):
    (root / "0.log").write_bytes(b"line\n")
    real_open = os.open

    def open_and_delete(path, flags):
        fd = real_open(path, flags)
        if flags & os.O_PATH:
            (root / "0.log").unlink()
        return fd

    monkeypatch.setattr(os, "open", open_and_delete)
    opened = open_log(str(root / "0.log"), [str(root)])
    assert opened.path.endswith(" (deleted)")
    assert read_and_close(opened) == b"line\n"


def test_what_is_no_regular_file_is_refused_unopened(root):
    os.mkfifo(root / "fifo")
    (root / "directory").mkdir()
    unix = socket.socket(socket.AF_UNIX)
    with unix:
        cwd = os.getcwd()
        os.chdir(root)  # a socket's path has 107 bytes at most
        try:
            unix.bind("socket")
        finally:
            os.chdir(cwd)
        for name in ("fifo", "directory", "socket"):
            assert reason_of(root / name, [root]) is RefusedReason.NOT_REGULAR, name


@pytest.mark.parametrize("device", ["/dev/null", "/dev/zero"])
def test_a_device_is_refused_without_being_opened(device, monkeypatch):
    reading = []
    real_open = os.open
    monkeypatch.setattr(os, "open", lambda path, flags: (flags & os.O_PATH or reading.append(path), real_open(path, flags))[1])
    assert reason_of(device, ["/dev"]) is RefusedReason.NOT_REGULAR
    assert reading == [], "a device does things when it is opened: a watchdog reboots the node"


def test_a_hard_link_is_refused(root, secret):
    os.link(secret, root / "0.log")
    assert reason_of(root / "0.log", [root]) is RefusedReason.HARD_LINKED


def test_a_symbolic_link_in_the_file_s_place_is_refused(root):
    (root / "0.log").symlink_to("/etc/passwd")
    assert reason_of(root / "0.log", [root]) in (RefusedReason.SYMLINK, RefusedReason.OUTSIDE_ROOTS)
    (root / "1.log").symlink_to(root / "0.log")
    assert reason_of(root / "1.log", [root]) is RefusedReason.SYMLINK


def test_a_directory_that_became_a_symbolic_link_leads_outside_the_roots(root, secret):
    (root / "pod").symlink_to(secret.parent)
    assert reason_of(root / "pod" / "0.log", [root]) is RefusedReason.OUTSIDE_ROOTS


def test_a_path_with_dots_is_judged_by_where_it_leads(root, secret):
    assert reason_of(f"{root}/../secrets/0.log", [root]) is RefusedReason.OUTSIDE_ROOTS


def test_a_loop_of_directories_is_refused(root):
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    assert reason_of(root / "a" / "0.log", [root]) is RefusedReason.LOOP


def test_what_is_gone_is_refused_as_vanished(root):
    (root / "file").write_bytes(b"")
    assert reason_of(root / "0.log", [root]) is RefusedReason.VANISHED
    assert reason_of(root / "file" / "0.log", [root]) is RefusedReason.VANISHED


@pytest.mark.parametrize(("code", "reason", "retry"), [
    (errno.EACCES, RefusedReason.PERMISSION, True),
    (errno.EPERM, RefusedReason.PERMISSION, True),
    (errno.EMFILE, RefusedReason.TOO_MANY_OPEN_FILES, True),
    (errno.ENFILE, RefusedReason.TOO_MANY_OPEN_FILES, True),
    (errno.ESTALE, RefusedReason.VANISHED, True),
    (errno.EIO, RefusedReason.ERROR, True),
    (errno.ENXIO, RefusedReason.NOT_REGULAR, False),
])
@pytest.mark.parametrize("failing", ["take hold", "open for reading"])
def test_each_answer_of_the_kernel_has_its_reason(root, monkeypatch, code, reason, retry, failing):
    (root / "0.log").write_bytes(b"")
    real_open = os.open

    def failing_open(path, flags):
        if bool(flags & os.O_PATH) == (failing == "take hold"):
            raise OSError(code, os.strerror(code), path)
        return real_open(path, flags)

    before = open_fds()
    monkeypatch.setattr(os, "open", failing_open)
    with pytest.raises(FileRefused) as refused:
        open_log(str(root / "0.log"), [str(root)])
    assert (refused.value.reason, refused.value.retry) == (reason, retry)
    assert str(root / "0.log") in str(refused.value)
    assert open_fds() == before


def test_the_limit_of_open_files_is_met_with_its_own_reason(root):
    (root / "0.log").write_bytes(b"")
    script = (
        "import resource, sys; from shipper.discover.open import open_log; from shipper.errors import FileRefused\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32)); held = []\n"
        "try:\n"
        "    for _ in range(40): held.append(open_log(sys.argv[1] + '/0.log', [sys.argv[1]]))\n"
        "except FileRefused as refused: print(refused.reason.value)\n")
    done = subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "too_many_open_files"


@pytest.mark.parametrize("path", ["/\0", "/" + "x" * 300, "/" + "x/" * 3000, "", "\udcff"])
def test_an_impossible_path_is_refused(root, path):
    assert reason_of(path, [root]) in (RefusedReason.ERROR, RefusedReason.VANISHED)


@pytest.mark.parametrize(("path", "roots", "allowed"), [
    ("/var/log/pods/x/0.log", ["/var/log/pods"], True),
    ("/var/log/pods", ["/var/log/pods"], True),
    ("/var/log/pods-evil/0.log", ["/var/log/pods"], False),
    ("/var/log/pods2", ["/var/log/pods"], False),
    ("/var/log", ["/var/log/pods"], False),
    ("/etc/shadow", [], False),
    ("/etc/shadow", ["/"], True),
    ("/b/x", ["/a", "/b"], True),
    ("(unreachable)/a/x", ["/a"], False),
])
def test_roots_are_compared_component_by_component(path, roots, allowed):
    assert inside(path, roots) is allowed


def test_a_root_that_is_a_symbolic_link_is_resolved_once(tmp_path, root):
    (tmp_path / "log").symlink_to(root)
    (root / "0.log").write_bytes(b"x")
    roots = resolve_roots([str(tmp_path / "log"), str(root), "/does/not/exist"])
    assert roots == (str(root), "/does/not/exist")
    assert read_and_close(open_log(str(root / "0.log"), roots)) == b"x"


FLIPPER = """
import os, sys
place, honest, evil, other = sys.argv[1:]
while True:  # rename is atomic: at each instant `place` is the honest directory or the link to the secret
    os.rename(place, honest); os.rename(evil, place)
    os.rename(place, evil); os.rename(honest, place)
"""


def naive_read(path, roots):
    """What an agent does that checks the path, then opens it."""
    if os.path.realpath(path).startswith(tuple(root + "/" for root in roots)):
        with open(path, "rb") as file:
            return file.read()
    return b""


def test_a_directory_swapped_for_a_link_between_check_and_open_never_wins(root, secret):
    place = root / "pod"
    place.mkdir()
    (place / "0.log").write_bytes(b"a line\n")
    (root / "evil").symlink_to(secret.parent)
    path, roots = str(place / "0.log"), resolve_roots([str(root)])
    flipper = subprocess.Popen([sys.executable, "-c", FLIPPER, str(place), str(root / "honest"), str(root / "evil"), "-"])
    refusals, opened_count, naive_lost = Counter(), 0, False
    try:
        end_s = time.monotonic() + 60.0                  # for a busy machine, where the other process hardly runs
        while time.monotonic() < end_s:
            try:
                opened = open_log(path, roots)
            except FileRefused as refused:
                refusals[refused.reason] += 1
            else:
                assert read_and_close(opened) == b"a line\n"
                opened_count += 1
            if not naive_lost:
                try:
                    naive_lost = naive_read(path, roots) == b"the node's secret\n"
                except OSError:
                    continue  # between two renames
            if naive_lost and opened_count > 2000 and refusals[RefusedReason.OUTSIDE_ROOTS] > 2000:
                break
    finally:
        flipper.kill()
        flipper.wait()
    assert naive_lost, "the race that this test is about did not happen"
    assert opened_count > 2000
    assert refusals[RefusedReason.OUTSIDE_ROOTS] > 2000
    assert refusals.keys() <= {RefusedReason.OUTSIDE_ROOTS, RefusedReason.VANISHED}


def test_a_file_whose_place_the_kernel_does_not_say_behind_the_open_leaves_no_descriptor(root, monkeypatch):
    """O3"""
    (root / "0.log").write_bytes(b"line\n")
    real, asked = os.readlink, []

    def readlink(path, *more):
        asked.append(path)
        if len(asked) > 1:
            raise OSError(errno.ENOENT, "no /proc")
        return real(path, *more)

    monkeypatch.setattr(os, "readlink", readlink)
    assert reason_of(root / "0.log", [root]) is RefusedReason.ERROR and len(asked) == 2
