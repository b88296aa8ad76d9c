"""The simulated node writes what a real one does: N1 to N5, and the steps of each rotation.

What is read back here is read by a reader of its own (`read_container`), not by the agent's decoder.
"""
from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from shipper.agent import node_simulator
from shipper.agent.node_simulator import Pace, move
from shipper.agent.simulator import Count, Node
from shipper.agent.simulator import rotation as rotate
from shipper.agent.simulator.framing import cri, cri_without_end, docker, rfc3339_nano
from shipper.agent.simulator.messages import Line, Messages, read_stamp
from shipper.agent.simulator.streams import ContainerLog, HostLog

SECOND_NS = 1_000_000_000


class Clock:
    """Stands still but for 1 ms a look."""

    def __init__(self) -> None:
        self.now_ns = 1_790_000_000 * SECOND_NS

    def __call__(self) -> int:
        self.now_ns += 1_000_000
        return self.now_ns


def node_in(path: Path, seed: int = 1, **settings: object) -> Node:
    return Node(path, seed, clock=Clock(), max_files=1000, **settings)  # type: ignore[arg-type]


def read_plain(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def in_order(live: Path) -> list[Path]:
    def age(path: Path) -> tuple[int, str]:
        extra = path.name.removeprefix(live.name).removesuffix(".gz")
        number = extra.lstrip(".")
        return (0, f"{99999 - int(number):05d}") if number.isdigit() and len(number) < 5 else (1 if extra else 2, extra)

    return sorted((p for p in live.parent.glob(f"{live.name}*")), key=age)


def read_container(directory: Path) -> list[tuple[str, bytes]]:
    """(stream, message) of all records of a container, over restarts and rotations."""
    out: list[tuple[str, bytes]] = []
    entries = sorted((p for p in directory.iterdir() if re.fullmatch(r"\d+\.log", p.name)), key=lambda p: int(p.stem))
    for entry in entries:
        begun: dict[str, bytes] = {}
        for path in in_order(entry.resolve()):
            data = read_plain(path)
            assert not data or data.endswith(b"\n")
            for raw in data.split(b"\n")[:-1]:
                stream, whole, content = read_docker(raw) if raw.startswith(b"{") else read_cri(raw)
                begun[stream] = begun.get(stream, b"") + content
                if whole:
                    out.append((stream, begun.pop(stream)))
        out += begun.items()                # last words: a P without an F
    return out


def read_cri(raw: bytes) -> tuple[str, bool, bytes]:
    time, stream, tag, content = raw.split(b" ", 3)
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{0,8}[1-9])?Z", time)
    assert len(content) <= 16384
    return stream.decode(), {b"P": False, b"F": True}[tag], content


def read_docker(raw: bytes) -> tuple[str, bool, bytes]:
    assert not re.search(rb"[<>&]", raw)
    entry = json.loads(raw)
    assert list(entry) == ["log", "stream", "time"] and len(entry["log"].encode()) <= 16384
    return entry["stream"], entry["log"].endswith("\n"), entry["log"].encode().removesuffix(b"\n")


def numbers(records: list[tuple[str, bytes]]) -> list[int]:
    found = [read_stamp(message) for _, message in records]
    assert None not in found
    return [number for number in found if number is not None]


def count_of(node: Node) -> Count:
    """What a perfect agent would have delivered of the files that are there."""
    count = Count()
    for container in node.containers:
        namespace, pod, name = container.label.split("/")
        for _, message in read_container(container.entry.parent):
            count.add_record({"message": message.decode(), "kubernetes": {
                "namespace_name": namespace, "pod_name": pod, "container_name": name}})
    for log in node.host_logs:
        for path in in_order(log.path):
            for message in path.read_bytes().split(b"\n")[:-1]:
                count.add_record({"message": message.decode(), "file": str(log.path)})
    return count


# ---------------------------------------------------------------- messages and framing

def test_every_line_has_its_number_and_a_changed_one_is_seen():
    lines = Messages("seed").take(3000)
    assert [read_stamp(line.message) for line in lines] == list(range(3000))
    for line in lines[:100]:
        at = len(line.message) // 2
        assert read_stamp(line.message[:at] + bytes([line.message[at] ^ 1]) + line.message[at + 1 :]) != read_stamp(line.message)
        assert read_stamp(line.message[:-1]) is None


def test_all_kinds_of_lines_come_up():
    lines = Messages("seed").take(6000)
    text = b"\n".join(line.message for line in lines)
    for part in (b"GET /", b'{"level"', b"Caused by:", b"Traceback", b"panic:", b"stdout F not", "世界".encode(), b"<script>"):
        assert part in text
    assert {16384, 16385, 32768, 40_000} <= {len(line.message) for line in lines}
    assert not any(b"\n" in line.message or line.message.endswith(b"\r") for line in lines)
    assert {line.stream for line in lines} == {b"stdout", b"stderr"}


@pytest.mark.parametrize(("now_ns", "text"), [
    (0, b"1970-01-01T00:00:00Z"), (1, b"1970-01-01T00:00:00.000000001Z"), (5_003_710_000, b"1970-01-01T00:00:05.00371Z"),
])
def test_times_have_no_trailing_zeros(now_ns: int, text: bytes):
    assert rfc3339_nano(now_ns) == text


@pytest.mark.parametrize(("size", "tags"), [(0, "F"), (1, "F"), (16384, "F"), (16385, "PF"), (32768, "PF"), (40_000, "PPF")])
def test_containerd_cuts_at_16384_bytes_and_not_before(size: int, tags: str):
    pieces = cri(Line(b"stdout", b"x" * size), 0)
    assert [piece.split(b" ", 3)[2].decode() for piece in pieces] == list(tags)
    assert b"".join(piece.split(b" ", 3)[3][:-1] for piece in pieces) == b"x" * size


def test_last_words_are_a_piece_without_end():
    assert cri_without_end(Line(b"stderr", b"bye"), 0) == b"1970-01-01T00:00:00Z stderr P bye\n"


def test_docker_escapes_as_go_does_and_cuts_between_characters():
    (only,) = docker(Line(b"stdout", b'<a href="x">&\t'), 0)
    assert only == b'{"log":"\\u003ca href=\\"x\\"\\u003e\\u0026\\t\\n","stream":"stdout","time":"1970-01-01T00:00:00Z"}\n'
    pieces = docker(Line(b"stdout", "x🚢".encode() * 8000), 0)
    assert [read_docker(piece[:-1])[1] for piece in pieces] == [False, False, True]
    assert b"".join(read_docker(piece[:-1])[2] for piece in pieces) == "x🚢".encode() * 8000


# ---------------------------------------------------------------- rotation, step by step

def test_kubelet_keeps_the_newest_rotated_file_plain_and_compresses_the_others(tmp_path: Path):
    live = tmp_path / "0.log"
    for number in range(7):
        live.write_text(f"{number}\n")
        rotate.kubelet_prepare(str(live), 5)
        rotate.kubelet_rename(str(live), 1_790_000_000 + number)
    names = [path.name for path in in_order(live)]
    assert [name.endswith(".gz") for name in names] == [True, True, True, False]
    assert [read_plain(tmp_path / name) for name in names] == [b"3\n", b"4\n", b"5\n", b"6\n"]
    assert not live.exists() and all(re.fullmatch(r"0\.log\.\d{8}-\d{6}(\.gz)?", name) for name in names)


def test_kubelet_clears_what_an_interrupted_rotation_left(tmp_path: Path):
    (tmp_path / "0.log.20260101-000000").write_text("plain")
    (tmp_path / "0.log.20260101-000000.gz").write_bytes(gzip.compress(b"packed"))
    (tmp_path / "0.log.20260101-000001.tmp").write_text("half")
    rotate.kubelet_prepare(str(tmp_path / "0.log"), 5)
    assert [path.name for path in tmp_path.iterdir()] == ["0.log.20260101-000000.gz"]


def test_two_rotations_in_one_second_keep_their_order(tmp_path: Path):
    live = tmp_path / "0.log"
    for number in range(3):
        live.write_text(f"{number}\n")
        rotate.kubelet_rename(str(live), 1_790_000_000)
    assert [path.read_text() for path in in_order(live)] == ["0\n", "1\n", "2\n"]


@pytest.mark.parametrize("compressed", [True, False])
def test_docker_counts_upwards_and_drops_the_oldest(compressed: bool, tmp_path: Path):
    live = tmp_path / "x-json.log"
    for number in range(5):
        live.write_text(f"{number}\n")
        renamed = rotate.docker_rename(str(live), 3, compressed)
        if compressed and renamed is not None:
            rotate.docker_compress(renamed)
    end = ".gz" if compressed else ""
    assert {p.name: read_plain(p) for p in tmp_path.iterdir()} == {f"x-json.log.1{end}": b"4\n", f"x-json.log.2{end}": b"3\n"}


def test_docker_with_one_file_removes_it(tmp_path: Path):
    (tmp_path / "x").write_text("0\n")
    assert rotate.docker_rename(str(tmp_path / "x"), 1, True) is None and not list(tmp_path.iterdir())


def test_between_rename_and_reopen_the_link_dangles_and_the_runtime_writes_to_the_renamed_file(tmp_path: Path):
    node = node_in(tmp_path)
    one = node.containers[0]
    node.write(10, one)
    node.rotate_begin(one)
    assert one.link.is_symlink() and not one.link.exists()
    (renamed,) = one.live.parent.glob("0.log.*")
    size = renamed.stat().st_size
    node.write(5, one)
    node.rotate_finish()
    assert renamed.stat().st_size > size and one.link.exists() and one.live.stat().st_size == 0
    node.write(5, one)
    node.settle()
    assert sorted(numbers(read_container(one.entry.parent))) == list(range(20)) and node.counts["rotations"] == 1


def test_a_long_line_may_begin_before_a_rotation_and_end_behind_it(tmp_path: Path):
    node = node_in(tmp_path)
    one = node.containers[0]
    while not one._open:
        node.write(1, one, leave_open=True)
    written = one.written
    node.rotate_begin(one)
    node.rotate_finish()
    assert one.written == written
    node.write(1, one)
    node.settle()
    first = in_order(one.live)[0].read_bytes().split(b"\n")[-2]
    assert first.split(b" ")[2] == b"P"
    assert sorted(numbers(read_container(one.entry.parent))) == list(range(one.written)) and one.written >= written + 2


def test_copytruncate_keeps_the_inode_and_moves_the_lines(tmp_path: Path):
    node = node_in(tmp_path)
    (log,) = node.host_logs
    assert isinstance(log, HostLog)
    for _ in range(3):
        node.write(10, log)
        inode = log.path.stat().st_ino
        node.copytruncate(log)
        assert log.path.stat().st_ino == inode and log.path.stat().st_size == 0
    node.write(10, log)
    node.settle()
    lines = [line for path in in_order(log.path) for line in path.read_bytes().split(b"\n")[:-1]]
    assert [read_stamp(line) for line in lines] == list(range(40)) and len(in_order(log.path)) == 4


# ---------------------------------------------------------------- pods

@pytest.mark.parametrize("runtime", ["cri", "docker"])
def test_names_and_links_are_those_of_a_node(runtime: str, tmp_path: Path):
    node = node_in(tmp_path, cri_pods=0, docker_pods=0)
    pod = node.add_pod(runtime, containers=2)
    one = pod.containers[0]
    assert isinstance(one, ContainerLog)
    assert one.entry == tmp_path / "pods" / f"{pod.namespace}_{pod.name}_{pod.uid}" / one.name / "0.log"
    assert one.link.name == f"{pod.name}_{pod.namespace}_{one.name}-{one.container_id}.log" and one.link.readlink() == one.entry
    assert (one.live == one.entry) == (runtime == "cri") and one.entry.resolve() == one.live
    if runtime == "docker":
        assert one.live == tmp_path / "docker" / "containers" / one.container_id / f"{one.container_id}-json.log"


@pytest.mark.parametrize("runtime", ["cri", "docker"])
def test_a_restart_makes_the_next_file_with_a_new_id_and_keeps_one_ended_container(runtime: str, tmp_path: Path):
    node = node_in(tmp_path, cri_pods=0, docker_pods=0)
    one = node.add_pod(runtime, containers=1).containers[0]
    seen = [(one.container_id, one.link)]
    for restart in (1, 2, 3):
        node.write(20, one)
        node.restart(one)
        seen.append((one.container_id, one.link))
        assert one.entry.name == f"{restart}.log" and one.link.exists()
    assert len(set(seen)) == 4
    assert [link.is_symlink() for _, link in seen] == [False, False, True, True]
    assert sorted(p.name for p in one.entry.parent.iterdir()) == ["2.log", "3.log"]
    assert node.ledger()[one.label] == one.written >= 60


def test_a_deleted_pod_leaves_nothing_but_its_place_in_the_ledger(tmp_path: Path):
    node = node_in(tmp_path)
    for pod in list(node.pods):
        for container in pod.containers:
            node.write(10, container)
        node.rotate(pod.containers[0])
        node.delete(pod)
    assert not any(any((tmp_path / name).iterdir()) for name in ("pods", "containers", "docker/containers"))
    assert node.counts["deletions"] == 4 and node.written >= 40 and not node.containers


def test_a_stopped_pods_files_stay_until_they_are_removed(tmp_path: Path):
    node = node_in(tmp_path)
    pod = node.pods[0]
    node.write(10, pod.containers[0])
    node.stop(pod)
    assert pod.containers[0].link.exists() and len(read_container(pod.containers[0].entry.parent)) == pod.containers[0].written
    node.remove(pod)
    assert not pod.directory.exists()


# ---------------------------------------------------------------- the plan and the count

@pytest.mark.parametrize("seed", range(8))
def test_after_any_plan_every_line_is_in_the_files_exactly_once(seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """N3, N4. Ended containers and deleted pods are read before they are removed."""
    node = node_in(tmp_path, seed)
    monkeypatch.setattr(ContainerLog, "remove_ended", lambda self, keep=0: None)
    monkeypatch.setattr(Node, "remove", lambda self, pod: None)
    actions = Counter(node.step(20) for _ in range(120))
    node.settle()
    count = Count()
    for directory in (tmp_path / "pods").glob("*/*"):
        namespace, pod, _ = directory.parent.name.split("_")
        for _, message in read_container(directory):
            count.add_record({"message": message.decode(), "kubernetes": {
                "namespace_name": namespace, "pod_name": pod, "container_name": directory.name}})
    for log in node.host_logs:
        for path in in_order(log.path):
            for message in path.read_bytes().split(b"\n")[:-1]:
                count.add_record({"message": message.decode(), "file": str(log.path)})
    counted = count.result(node.ledger())
    assert counted.exact and counted.delivered == counted.written > 1000, counted
    assert len(actions) >= 6


def tree(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.suffix != ".gz"}


def test_equal_seeds_give_equal_bytes_and_others_do_not(tmp_path: Path):
    for name, seed in (("a", 5), ("b", 5), ("c", 6)):
        node = node_in(tmp_path / name, seed)
        for _ in range(60):
            node.step(10)
        node.close()
    assert tree(tmp_path / "a") == tree(tmp_path / "b") != tree(tmp_path / "c")


def test_the_count_tells_lost_repeated_damaged_and_stray_lines_apart():
    messages = [line.message.decode() for line in Messages("x").take(10)]
    pod = {"namespace_name": "ns", "pod_name": "p", "container_name": "c"}
    count = Count()
    for message in [*messages[:7], messages[0], messages[7][:-1], messages[9]]:
        count.add_record({"message": message, "kubernetes": pod})
    count.add_record({"message": messages[8], "kubernetes": {**pod, "container_name": "other"}})
    found = count.result({"ns/p/c": 9})
    assert (found.written, found.delivered, found.lost, found.repeated, found.damaged, found.stray) == (9, 11, 2, 1, 1, 2)
    assert found.lost_by_log == {"ns/p/c": 2} and not found.exact


def test_a_rotation_is_due_at_its_size(tmp_path: Path):
    node = node_in(tmp_path, max_bytes=4096)
    while not any(container.size_bytes >= 4096 for container in node.containers):
        node.write(50)
    large = [container for container in node.containers if container.size_bytes >= 4096]
    node.rotate_due()
    node.rotate_finish()
    assert node.counts["rotations"] == len(large) and all(container.size_bytes < 4096 for container in node.containers)
    node.settle()
    assert count_of(node).result(node.ledger()).exact


# ---------------------------------------------------------------- moved by the clock

class Turned:
    """`time` as it is where nobody is late: it goes on while somebody sleeps."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


def test_the_moved_node_reports_and_ends_with_its_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(node_simulator, "time", Turned())
    node = Node(tmp_path, 3, max_files=1000, max_bytes=20_000)
    reports: list[dict] = []
    move(node, Pace(rate=20_000, seconds=1.2, gc_s=0.1), lambda: False, reports.append)
    last = reports[-1]
    assert last["written"] == sum(last["ledger"].values()) >= 20_000 * 0.9
    assert all(last[name] > 0 for name in ("rotations", "restarts", "deletions", "copytruncates", "bytes"))
    assert [r["written"] for r in reports] == sorted(r["written"] for r in reports) and len(reports) >= 4


def test_the_process_settles_and_says_its_ledger_when_it_is_told_to_end(tmp_path: Path):
    command = [sys.executable, "-m", "shipper.agent.node_simulator", "--root", str(tmp_path), "--rate", "3000", "--seconds", "60"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while not json.loads(process.stdout.readline())["written"]:
            pass
        process.terminate()
        lines = process.stdout.read().splitlines()
        assert process.wait(10) == 0
    last = json.loads(lines[-1])
    assert last["written"] == sum(last["ledger"].values()) > 0
    host = (tmp_path / "host" / "app.log").read_bytes().split(b"\n")[:-1]
    assert len(host) == last["ledger"]["host/app.log"]
