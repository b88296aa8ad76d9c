"""K1 to K3, and shipper positions import: the next line shipped is exactly the next one, whatever lies in between."""
from __future__ import annotations

import gzip
import json
import os
import sqlite3
import subprocess
from functools import partial
from pathlib import Path

import pytest

from shipper.agent import takeover_driver
from shipper.agent.birth import birth_ns
from shipper.agent.cli import main
from shipper.agent.takeover import BEGIN, CONTINUE, CUT, PASSED, Candidate, Entry, Take, came_again, decide, open_pieces
from shipper.agent.takeover_driver import line_start
from shipper.agent.takeover_entries import READERS, parse_pos_file
from shipper.buffer.lock import Lock
from shipper.discover.scan import Changes
from tests.support.journal import Journal
from tests.tail.conftest import Tree, cri

STOPPED_S = 1795167000              # 2026-11-20T09:30:00Z: when the other agent wrote its positions for the last time
LIVE, OLD, OLDER = (Candidate("/l/0.log", 3, 300, False), Candidate("/l/0.log.2", 2, 200, False),
                    Candidate("/l/0.log.1.gz", 1, 0, True))


def entries(*pairs: tuple[int, int | None]) -> dict[int, Entry]:
    return {inode: Entry("/l/0.log", inode, offset) for inode, offset in pairs}


class TestDecide:
    def test_the_file_with_that_inode_goes_on_and_older_ones_are_passed_over(self):
        assert decide(entries((3, 120)), [OLDER, OLD, LIVE]) == [
            Take(0, PASSED, None), Take(1, PASSED, None), Take(2, CONTINUE, 120)]

    def test_a_file_that_was_rotated_meanwhile_goes_on_and_what_came_behind_it_is_new(self):
        assert decide(entries((2, 120)), [OLDER, OLD, LIVE]) == [Take(0, PASSED, None), Take(1, CONTINUE, 120)]

    def test_each_file_has_its_own_position_where_there_are_several(self):
        assert decide(entries((2, 199), (3, 0)), [OLD, LIVE]) == [Take(0, CONTINUE, 199), Take(1, BEGIN, 0)]

    def test_where_its_file_is_gone_nothing_is_passed_over(self):
        assert decide(entries((9, 120)), [OLDER, OLD, LIVE]) == []

    def test_what_the_other_agent_had_given_up_says_nothing(self):
        assert decide(entries((3, None)), [OLD, LIVE]) == []

    def test_a_file_that_is_shorter_than_its_position_was_cut_and_its_copy_is_not_passed_over(self):
        assert decide(entries((3, 301)), [OLD, LIVE]) == [Take(1, CUT, 301)]

    def test_an_inode_that_a_compressed_file_has_now_is_another_file(self):
        assert decide(entries((1, 10)), [OLDER, LIVE]) == []


def test_a_record_in_pieces_is_open_for_each_stream_alone():
    assert open_pieces(b"t stdout P a\nt stderr F b\n")
    assert not open_pieces(b"t stdout P a\nt stdout F b\n")
    assert not open_pieces(b"no line of a container\n")


def test_lines_of_a_pos_file_that_are_none_are_said_and_of_two_for_one_file_the_last_counts():
    text = ("/a b\t000000000000000a\t0000000000000001\n/a b\t000000000000000b\t0000000000000001\n"
            "/gone\tffffffffffffffff\t0000000000000002\nrubbish\n\n")
    found, problems = parse_pos_file(text, "x.pos")
    assert found == [Entry("/a b", 1, 11), Entry("/gone", 2, None)]
    assert problems == ["x.pos:4: not a position (path, offset and inode between tabs); left out"]


@pytest.mark.parametrize(("line_s", "born_s", "changed_s", "inside", "another"), [
    (90, 0, 0, False, False), (110, 0, 0, False, True),          # the line in front of the position has a time
    (90, 110, 110, True, False),                                 # it wins: the file was copied, or restored
    (0, 90, 110, False, False), (0, 90, 110, True, False),       # older than the positions, and written to since
    (0, 110, 110, False, True),                                  # made since
    (0, 0, 110, False, False), (0, 0, 110, True, True),          # nobody knows: then the position itself
    (0, 0, 90, True, False),                                     # nothing was changed since
])
def test_a_file_with_the_inode_of_a_position_is_told_from_another(line_s, born_s, changed_s, inside, another):
    assert bool(came_again(line_s, born_s, changed_s, 100, inside)) is another


def birth_as_stat_says_ns(path: Path) -> int:
    """0 where the file system does not know it."""
    said = subprocess.run(["stat", "-c", "%.9W", path], capture_output=True, text=True, check=True, timeout=60).stdout
    return int(said.strip().replace(".", ""))


def test_the_time_at_which_a_file_was_made_is_what_stat_says_and_0_where_nobody_knows(tmp_path: Path):
    for path in (tmp_path / "a", Path("/proc/self/status")):               # /proc never knows
        with open(path, "ab" if path.parent == tmp_path else "rb") as file:
            assert birth_ns(file.fileno()) == birth_as_stat_says_ns(path)


def test_the_time_at_which_a_file_was_made_stays_when_it_is_written_to_and_renamed(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("one")
    with open(path, "rb") as file:
        born_ns = birth_ns(file.fileno())
    os.utime(path, (1, 1))
    path.rename(tmp_path / "b")
    with open(tmp_path / "b", "ab") as file:
        file.write(b"two")
        assert birth_ns(file.fileno()) == born_ns


class Node:
    """A log tree, a config on it, the real command line, and what was delivered."""

    def __init__(self, root: Path) -> None:
        self.tree, self.root = Tree(root / "log"), root
        self.config, self.pos, self.out = root / "c.yaml", root / "gcp.log.pos", root / "out.ndjson"
        self.entries: list[str] = []
        self.configure()

    def configure(self, start_at: str = "beginning") -> None:
        self.config.write_text(f"""
state_dir: {self.root}/state
admin: {{listen: null}}
sources:
  pods: {{type: containers, include: ["{self.tree.links}/*.log"], start_at: {start_at},
         allowed_roots: ["{os.path.realpath(self.tree.root)}"]}}
sinks:
  out: {{type: file, path: {self.out}, start_at: oldest}}
""")

    def host_file(self) -> None:
        """The same file, as one of a host."""
        self.config.write_text(self.config.read_text().replace("type: containers", "type: files, format: cri").replace(
            f"{self.tree.links}/*.log", str(self.tree.log)))

    def plain_file(self, text: str) -> Path:
        """A host's log of plain lines, and nothing else."""
        log = self.root / "syslog"
        log.write_text(text)
        self.config.write_text(self.config.read_text().replace("type: containers", "type: files").replace(
            f"{self.tree.links}/*.log", str(log)).replace(os.path.realpath(self.tree.root), os.path.realpath(self.root)))
        return log

    def shipped_of(self, log: Path, offset: int) -> None:
        """fluentd's entry for a host's file."""
        self.pos.write_text(f"{log}\t{offset:016x}\t{os.stat(log).st_ino:016x}\n")
        os.utime(self.pos, (STOPPED_S, STOPPED_S))

    @property
    def link(self) -> Path:
        return next(self.tree.links.iterdir())

    def shipped(self, offset: int, *, path: Path | None = None, inode: int | None = None) -> None:
        """fluentd's entry for a file: by the link's name."""
        inode = os.stat(path or self.link).st_ino if inode is None else inode
        self.entries.append(f"{self.link}\t{offset:016x}\t{inode:016x}\n")
        self.pos.write_text("".join(self.entries))
        os.utime(self.pos, (STOPPED_S, STOPPED_S))

    def take_over(self, *more: str, agent: str = "fluentd", path: Path | None = None) -> int:
        return main(["positions", "import", "--from", agent, str(path or self.pos), "-c", str(self.config), *more])

    def delivered(self) -> list[str]:
        assert main(["run", "-c", str(self.config), "--once", "--timeout", "20s"]) == 0
        lines = self.out.read_text().splitlines() if self.out.exists() else []
        return [json.loads(line)["message"] for line in lines]

    def proven(self, capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
        """audit holds, and verify finds nothing missing with its ledger; the bytes of gaps by reason."""
        capsys.readouterr()
        assert main(["audit", "--json", "--state-dir", f"{self.root}/state"]) == 0
        ledger = capsys.readouterr().out
        (self.root / "ledger.json").write_text(ledger)
        assert main(["verify", "--no-repeats", "--ledger", str(self.root / "ledger.json"), str(self.out)]) == 0, \
            capsys.readouterr().out
        found: dict[str, int] = json.loads(ledger)["totals"]["gap_bytes"]
        return found


@pytest.fixture(autouse=True)
def births(monkeypatch) -> dict[str, int]:
    """When files were made, by name; else nobody knows. The positions of these tests are older than all files."""
    known: dict[str, int] = {}
    monkeypatch.setattr(
        takeover_driver, "birth_ns", lambda fd: known.get(os.path.basename(os.readlink(f"/proc/self/fd/{fd}")), 0))
    return known


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


class Bytes:
    """As much of a TailFile as line_start looks at."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def pread(self, size: int, offset: int) -> bytes:
        return self.data[offset : offset + size]


def test_each_offset_leads_to_the_start_of_the_line_that_it_is_in(monkeypatch):
    monkeypatch.setattr(takeover_driver, "BACK_BYTES", 7)
    data = b"one\n\na longer line than a look\r\nlast without end"
    for offset in range(len(data) + 1):
        assert line_start(Bytes(data), offset) == data.rfind(b"\n", 0, offset) + 1


class TestTheNextLineIsExactlyTheNextOne:
    @pytest.mark.parametrize("name", ["pods", "files"])
    def test_rotated_between_the_import_and_the_first_start(self, node: Node, name: str):
        if name == "files":
            node.host_file()
        node.tree.write(cri("one"), cri("two", second=1))
        node.shipped(len(cri("one")))
        assert node.take_over() == 0
        node.tree.rotate("20261120-090002")
        node.tree.write(cri("three", second=3))
        assert node.delivered() == ["two", "three"]

    def test_behind_fluentds_position_and_the_ledger_knows(self, node: Node, capsys):
        before = cri("one") + cri("two", second=1)
        node.tree.write(before, cri("three", second=2))
        node.shipped(len(before))
        assert node.take_over() == 0
        assert node.delivered() == ["three"]
        assert node.proven(capsys) == {"imported": len(before)}
        (file,) = json.loads((node.root / "ledger.json").read_text())["files"]
        assert file["gaps"] == [{"start": 0, "end": len(before), "reason": "imported", "at_least": 0}] and file["dropped"] == {}

    def test_in_the_middle_of_a_line_that_line_comes_whole(self, node: Node):
        node.tree.write(cri("one"), cri("two", second=1))
        node.shipped(len(cri("one")) + 20)             # in its header: what is behind it alone is no CRI line
        assert node.take_over() == 0
        assert node.delivered() == ["two"]

    def test_rotated_since_then_the_old_file_is_read_on_and_older_ones_are_not(self, node: Node, capsys):
        node.tree.write(cri("oldest"))
        node.tree.rotate("20261120-090001")
        node.tree.write(cri("one", second=1), cri("two", second=2))
        node.shipped(len(cri("one", second=1)))
        node.tree.rotate("20261120-090002", compress="20261120-090001")
        node.tree.write(cri("three", second=3))
        assert node.take_over() == 0
        assert node.delivered() == ["two", "three"]
        assert node.proven(capsys) == {"imported": len(cri("oldest")) + len(cri("one", second=1))}

    def test_older_files_that_are_compressed_after_the_import_are_still_known(self, node: Node):
        node.tree.write(cri("oldest"))
        old = node.tree.rotate("20261120-090001")
        node.tree.write(cri("one", second=1), cri("two", second=2))
        node.shipped(len(cri("one", second=1)))
        assert node.take_over() == 0
        Path(f"{old}.gz").write_bytes(gzip.compress(old.read_bytes()))
        old.unlink()
        assert node.delivered() == ["two"]

    def test_an_older_file_that_goes_before_the_first_start_is_no_loss(self, node: Node, capsys):
        node.tree.write(cri("oldest"))
        old = node.tree.rotate("20261120-090001")
        node.tree.write(cri("one", second=1), cri("two", second=2))
        node.shipped(len(cri("one", second=1)))
        assert node.take_over() == 0
        old.unlink()
        assert node.delivered() == ["two"]
        assert node.proven(capsys) == {"imported": len(cri("oldest")) + len(cri("one", second=1))}
        ledger = json.loads((node.root / "ledger.json").read_text())
        assert [gap["reason"] for file in ledger["files"] for gap in file["gaps"]] == ["imported", "imported"]

    def test_a_new_file_that_got_the_inode_of_the_one_that_fluentd_read_is_read_from_the_beginning(self, node: Node, capsys):
        """The kubelet compressed the old one meanwhile; its inode went to the next live file."""
        new = [cri(f"new {n}", second=2000 + n) for n in range(4)]
        node.tree.write(*new)
        node.shipped(len(new[0]) * 2)
        assert node.take_over() == 0
        assert "has its inode now" in capsys.readouterr().out
        assert node.delivered() == ["new 0", "new 1", "new 2", "new 3"]

    def test_a_hosts_new_file_with_the_inode_of_the_one_that_fluentd_read_is_read_from_the_beginning(
        self, node: Node, births: dict[str, int], capsys,
    ):
        """Lines of a plain file have no time that we know."""
        log = node.plain_file("new 0\nnew 1\nnew 2\n")
        node.shipped_of(log, len("new 0\nnew 1\n"))
        births[log.name] = (STOPPED_S + 100) * 10**9
        assert node.take_over() == 0
        assert "made after the positions were written" in capsys.readouterr().out
        assert node.delivered() == ["new 0", "new 1", "new 2"]

    @pytest.mark.parametrize("known", [True, False])
    def test_a_hosts_file_that_was_there_before_goes_on(self, node: Node, births: dict[str, int], known: bool):
        log = node.plain_file("old 0\nold 1\nnew 2\n")
        node.shipped_of(log, len("old 0\nold 1\n"))
        births[log.name] = (STOPPED_S - 100) * 10**9 if known else 0
        assert node.take_over() == 0
        assert node.delivered() == ["new 2"]

    def test_an_inode_that_came_again_passes_over_no_older_file_either(self, node: Node):
        node.tree.write(cri("fluentd may have had this", second=10))
        node.tree.rotate("20261120-090002")
        node.tree.write(cri("new", second=2000), cri("newer", second=2001))
        node.shipped(len(cri("new", second=2000)))
        assert node.take_over() == 0
        assert node.delivered() == ["fluentd may have had this", "new", "newer"]

    def test_a_path_that_is_no_utf_8_is_taken_over_and_told(self, node: Node, capfdbinary):
        node.host_file()
        odd = os.path.join(os.fsencode(node.root), b"caf\xe9.log")
        with open(odd, "wb") as file:
            file.write(cri("one") + cri("two", second=1))
        node.config.write_text(node.config.read_text().replace(str(node.tree.log), f"{node.root}/*.log"))
        node.pos.write_bytes(odd + b"\t%016x\t%016x\n" % (len(cri("one")), os.stat(odd).st_ino))
        os.utime(node.pos, (STOPPED_S, STOPPED_S))
        assert node.take_over() == 0
        assert node.delivered() == ["two"]

    def test_a_line_in_fluentds_file_that_is_none_is_said_on_stderr_with_json_too(self, node: Node, capsys):
        node.tree.write(cri("one"))
        node.entries.append("rubbish\n")
        node.shipped(0)
        assert node.take_over("--json", "--dry-run") == 0
        out, err = capsys.readouterr()
        assert json.loads(out) and "not a position" in err

    def test_a_file_whose_inode_is_gone_is_read_from_the_beginning(self, node: Node, capsys):
        node.tree.write(cri("one"))
        node.shipped(20, inode=4711)
        assert node.take_over() == 0
        assert "no file with inode 4711 is here any more" in capsys.readouterr().out
        assert node.delivered() == ["one"]

    def test_a_file_that_was_cut_is_read_from_the_beginning(self, node: Node, capsys):
        node.tree.write(cri("new"))
        node.shipped(100_000)
        assert node.take_over() == 0
        assert "shorter than its position (100000)" in capsys.readouterr().out
        assert node.delivered() == ["new"]

    def test_behind_a_piece_the_rest_of_its_record_comes_by_itself(self, node: Node, capsys):
        piece = cri("begun and ", tag="P")
        node.tree.write(piece, cri("ended", second=1))
        node.shipped(len(piece))
        assert node.take_over() == 0
        assert "in the middle of a record in pieces" in capsys.readouterr().out
        assert node.delivered() == ["ended"]

    def test_with_start_at_end_what_the_other_agent_had_not_shipped_is(self, node: Node):
        node.configure(start_at="end")
        node.tree.write(cri("not shipped yet"))
        node.shipped(0)
        assert node.take_over() == 0
        assert node.delivered() == ["not shipped yet"]

    def test_a_sources_json_that_a_power_cut_left_empty_does_not_end_the_import_half_way(self, node: Node):
        node.configure(start_at="end")
        node.tree.write(cri("not shipped yet"))
        node.shipped(0)
        (node.root / "state").mkdir()
        (node.root / "state/sources.json").write_bytes(b"")
        assert node.take_over() == 0
        assert node.delivered() == ["not shipped yet"]

    def test_all_was_shipped_and_the_next_line_comes_later(self, node: Node):
        node.tree.write(cri("one"))
        node.shipped(len(cri("one")))
        assert node.take_over() == 0
        assert node.delivered() == []
        node.tree.write(cri("two", second=1))
        assert node.delivered() == ["two"]

    def test_fluent_bits_data_base_with_a_write_ahead_log_that_is_not_merged_yet(self, node: Node):
        node.tree.write(cri("one"), cri("two", second=1))
        path = node.root / "flb.db"
        base = sqlite3.connect(path)
        base.execute("PRAGMA journal_mode=WAL")
        base.execute("CREATE TABLE in_tail_files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER, inode INTEGER, "
                     "created INTEGER, rotated INTEGER DEFAULT 0)")
        base.execute("INSERT INTO in_tail_files (name, offset, inode, created) VALUES (?, ?, ?, 1)",
                     (str(node.link), len(cri("one")), os.stat(node.link).st_ino))
        base.commit()
        before = path.read_bytes(), sorted(p.name for p in node.root.iterdir())
        assert node.take_over(agent="fluent-bit", path=path) == 0
        assert (path.read_bytes(), [n for n in sorted(p.name for p in node.root.iterdir()) if n != "state"]) == before
        base.close()
        assert node.delivered() == ["two"]


    def test_a_pos_file_as_fluentd_leaves_it_with_follow_inodes(self, node: Node, capsys):
        """Given-up rows (ffffffffffffffff) of files that are here and that are gone, several rows for one path, an inode of 8
        digits as old versions write it, a row twice, and nothing behind the last newline."""
        node.tree.write(cri("one"), cri("two", second=1))
        old = node.tree.rotate("20261120-090001")
        node.tree.write(cri("three", second=2), cri("four", second=3))
        node.shipped(0xFFFFFFFFFFFFFFFF, inode=77)
        node.shipped(0, path=old)
        node.shipped(len(cri("one")), path=old)
        node.shipped(len(cri("three", second=2)))
        link = node.link
        inode = os.stat(link).st_ino
        node.entries = [entry.replace(f"\t{inode:016x}", f"\t{inode:08x}") for entry in node.entries]
        node.entries.append(f"{link.parent}/gone_default_web-{'a' * 64}.log\t{0xFFFFFFFFFFFFFFFF:016x}\t{78:016x}")
        node.pos.write_text("".join(node.entries))
        os.utime(node.pos, (STOPPED_S, STOPPED_S))
        assert node.take_over() == 0
        out, err = capsys.readouterr()
        assert "2 continue" in out and err == ""
        assert node.delivered() == ["two", "four"]


FLUENT_BIT_COLUMNS = {
    "1.x to 4.1": "",
    "with gzip positions": ", skip INTEGER DEFAULT 0, anchor INTEGER DEFAULT 0",
    "5.x": ", offset_marker INTEGER DEFAULT 0, offset_marker_size INTEGER DEFAULT 0",
}


class FluentBit:
    """A data base as Fluent Bit's tail input makes it."""

    def __init__(self, path: Path, mode: str = "WAL", more: str = "") -> None:
        self.path, self.base = path, sqlite3.connect(path, isolation_level=None)
        self.base.execute(f"PRAGMA journal_mode={mode}")
        self.base.execute("CREATE TABLE in_tail_files (id INTEGER PRIMARY KEY, name TEXT NOT NULL, offset INTEGER, "
                          f"inode INTEGER, created INTEGER, rotated INTEGER DEFAULT 0{more})")

    def row(self, name: Path, offset: int | None, inode: int | None, rotated: int = 0) -> None:
        self.base.execute("INSERT INTO in_tail_files (name, offset, inode, created, rotated) VALUES (?, ?, ?, 1, ?)",
                          (str(name), offset, inode, rotated))


class TestFluentBit:
    @pytest.mark.parametrize("version", FLUENT_BIT_COLUMNS)
    def test_the_tables_of_its_versions(self, node: Node, version: str):
        node.tree.write(cri("one"), cri("two", second=1))
        made = FluentBit(node.root / "flb.db", more=FLUENT_BIT_COLUMNS[version])
        made.row(node.link, len(cri("one")), os.stat(node.link).st_ino)
        made.base.close()
        assert node.take_over(agent="fluent-bit", path=made.path) == 0
        assert node.delivered() == ["two"]

    def test_several_data_bases_one_after_the_other_as_gkes_agent_has_one_for_each_system_namespace(self, node: Node):
        system = node.tree.pod("dns-0", namespace="kube-system") / "0.log"
        links = {name: next(node.tree.links.glob(f"*_{name}_*")) for name in ("default", "kube-system")}
        node.tree.write(cri("one"), cri("two", second=1))
        node.tree.write(cri("three", second=2), cri("four", second=3), path=system)
        for name, first in (("default", "one"), ("kube-system", "three")):
            made = FluentBit(node.root / f"flb_{name}.db")
            made.row(links[name], len(cri(first)), os.stat(links[name]).st_ino)
            made.base.close()
            assert node.take_over(agent="fluent-bit", path=made.path) == 0
        assert sorted(node.delivered()) == ["four", "two"]

    def test_several_rows_of_one_name_are_several_files(self, node: Node):
        node.tree.write(cri("one"), cri("two", second=1))
        old = node.tree.rotate("20261120-090001")
        node.tree.write(cri("three", second=2), cri("four", second=3))
        made = FluentBit(node.root / "flb.db")
        made.row(node.link, 777, 4711)                                        # a file that is gone
        made.row(node.link, len(cri("one")), os.stat(old).st_ino)
        made.row(node.link, len(cri("three", second=2)), os.stat(node.link).st_ino)
        made.base.close()
        assert node.take_over(agent="fluent-bit", path=made.path) == 0
        assert node.delivered() == ["two", "four"]

    def test_a_row_under_its_rotated_name(self, node: Node):
        node.tree.write(cri("one"), cri("two", second=1))
        old = node.tree.rotate("20261120-090001")
        node.tree.write(cri("three", second=2))
        made = FluentBit(node.root / "flb.db")
        made.row(old, len(cri("one")), os.stat(old).st_ino, rotated=1)
        made.base.close()
        assert node.take_over(agent="fluent-bit", path=made.path) == 0
        assert node.delivered() == ["two", "three"]

    def test_rows_without_an_inode_or_offset_say_nothing(self, node: Node):
        node.tree.write(cri("one"))
        made = FluentBit(node.root / "flb.db")
        made.row(node.link, None, os.stat(node.link).st_ino)
        made.row(node.link, 10, None)
        made.base.close()
        assert node.take_over(agent="fluent-bit", path=made.path) == 0
        assert node.delivered() == ["one"]

    def test_a_change_that_was_under_way_when_fluent_bit_was_killed_is_taken_back_as_sqlite_does(self, node: Node):
        node.tree.write(cri("one"), cri("two", second=1))
        made = FluentBit(node.root / "flb.db", "DELETE")
        made.row(node.link, len(cri("one")), os.stat(node.link).st_ino)
        for n in range(300):                                                  # more than the cache holds: it is on disk already
            made.row(node.root / f"{'x' * 400}{n}", 1, n + 10_000_000)
        made.base.execute("PRAGMA cache_size=1")
        made.base.execute("BEGIN IMMEDIATE")
        made.base.execute("UPDATE in_tail_files SET offset = ?", (len(cri("one")) + len(cri("two")),))
        kept = node.root / "killed"
        kept.mkdir()
        for name in ("flb.db", "flb.db-journal"):
            (kept / name).write_bytes((node.root / name).read_bytes())
        made.base.rollback()
        made.base.close()
        bare = sqlite3.connect(f"file:{kept / 'flb.db'}?immutable=1", uri=True)
        assert bare.execute("SELECT offset FROM in_tail_files WHERE id=1").fetchone() != (len(cri("one")),), "half done"
        bare.close()
        assert node.take_over(agent="fluent-bit", path=kept / "flb.db") == 0
        assert node.delivered() == ["two"]


def test_a_journal_goes_on_behind_the_entry_that_fluentds_cursor_names(tmp_path: Path, capsys):
    journal = Journal(tmp_path / "journal")
    journal.add(["one", "two", "three"])
    entries = [json.loads(line) for line in subprocess.run(
        ["journalctl", f"--directory={journal.directory}", "--output=json"], check=True, capture_output=True).stdout.splitlines()]
    cursor = next(entry["__CURSOR"] for entry in entries if entry["MESSAGE"] == "two")
    storage, config = tmp_path / "journal.pos.json", tmp_path / "c.yaml"
    storage.write_text(json.dumps({"journal": cursor}))
    config.write_text(f"""
state_dir: {tmp_path}/state
admin: {{listen: null}}
sources: {{kubelet: {{type: journal, directory: {journal.directory}}}}}
sinks: {{out: {{type: file, path: {tmp_path}/out.ndjson, start_at: oldest}}}}
""")
    take_over = ["positions", "import", "--from", "fluentd-journal", str(storage), "--source", "kubelet", "-c", str(config)]
    assert [main(take_over), main(take_over)] == [0, 0]
    assert "1 continue" in (said := capsys.readouterr().out) and "1 kept" in said
    assert main(["run", "-c", str(config), "--once", "--timeout", "20s"]) == 0
    assert [json.loads(line)["message"] for line in (tmp_path / "out.ndjson").read_text().splitlines()] == ["three"]
    assert main(["audit", "--state-dir", f"{tmp_path}/state"]) == 0
    storage.write_text("nothing")
    assert main(take_over) == 2
    assert "no cursor of a journal in it" in capsys.readouterr().err
    assert main([*take_over[:-3], "other", *take_over[-2:]]) == 2


class TestWhatItWillNotDo:
    def test_a_dry_run_says_all_and_writes_nothing(self, node: Node, capsys):
        node.tree.write(cri("one"), cri("two", second=1))
        node.shipped(len(cri("one")))
        assert node.take_over("--dry-run") == 0
        said = capsys.readouterr().out
        assert f"{len(cri('one'))}" in said and "would be: 1 continue" in said
        assert not (node.root / "state").exists()
        assert node.delivered() == ["one", "two"]

    def test_twice_is_as_once(self, node: Node, capsys):
        node.tree.write(cri("one"), cri("two", second=1))
        node.shipped(len(cri("one")))
        assert [node.take_over(), node.take_over()] == [0, 0]
        assert "done: 1 kept" in capsys.readouterr().out
        assert node.delivered() == ["two"]

    def test_a_position_of_our_own_stays_unless_it_is_forced_and_then_it_never_goes_back(self, node: Node, capsys):
        node.tree.write(cri("one"))
        assert node.delivered() == ["one"]
        node.tree.write(cri("two", second=1), cri("three", second=2))
        node.shipped(2 * len(cri("one")))
        assert node.take_over() == 0
        assert "--force moves it on to" in capsys.readouterr().out
        assert node.take_over("--force") == 0
        assert node.delivered() == ["one", "three"]
        assert node.proven(capsys) == {"moved_on": len(cri("two", second=1))}
        node.entries.clear()
        node.shipped(len(cri("one")))
        assert node.take_over("--force") == 0
        assert node.delivered() == ["one", "three"]

    def test_under_a_running_agent_it_is_refused_with_its_name(self, node: Node, capsys):
        node.tree.write(cri("one"))
        node.shipped(10)
        (node.root / "state").mkdir()
        lock = Lock.try_take(str(node.root / "state"))
        assert lock is not None
        try:
            assert node.take_over() == 1
        finally:
            lock.release()
        assert "stop it first: positions are taken over before an agent reads" in capsys.readouterr().err

    def test_files_that_no_source_reads_and_files_that_are_gone_are_told_apart(self, node: Node, capsys):
        other = node.root / "other.log"
        other.write_text("x\n")
        node.pos.write_text(f"{other}\t{2:016x}\t{7:016x}\n/gone.log\t{2:016x}\t{8:016x}\n")
        assert node.take_over("--json") == 0
        rows = {row["path"]: (row["what"], row["why"]) for row in json.loads(capsys.readouterr().out)}
        assert rows[str(other)] == ("not read", "no source of this config includes it")
        assert rows["/gone.log"] == ("gone", "there is no such file any more")

    def test_a_log_that_may_not_be_looked_at_is_not_said_to_have_no_source(self, node: Node, capsys, monkeypatch):
        """Every log was "not read: no source of this config includes it" for who ran it without sudo."""
        node.tree.write(cri("one"))
        node.shipped(5)
        link, stat = node.link, os.stat

        def forbidden(path, *args, **kwargs):
            if str(path) == str(link):
                raise PermissionError(13, "Permission denied", str(path))
            return stat(path, *args, **kwargs)

        monkeypatch.setattr(takeover_driver.Discoverer, "scan", lambda self, full: Changes())
        monkeypatch.setattr(os, "stat", forbidden)
        assert node.take_over("--json", "--dry-run") == 0
        (row,) = json.loads(capsys.readouterr().out)
        assert row["what"] == "not read"
        assert row["why"] == "it may not be looked at; run this as root (sudo), or as the agent's user"

    def test_a_log_in_a_directory_that_may_not_be_entered_is_not_said_to_be_gone(self, node: Node, capsys, monkeypatch):
        """/var/log/nginx/access.log was "there is no such file any more" for who is not in its group."""
        path = node.root / "closed" / "access.log"
        node.pos.write_text(f"{path}\t{2:016x}\t{7:016x}\n")
        real = {name: getattr(os, name) for name in ("stat", "lstat")}

        def asked(name, of, *args, **kwargs):
            if str(of) == str(path):
                raise PermissionError(13, "Permission denied", str(path))
            return real[name](of, *args, **kwargs)

        for name in real:
            monkeypatch.setattr(os, name, partial(asked, name))
        assert node.take_over("--json", "--dry-run") == 0
        (row,) = [row for row in json.loads(capsys.readouterr().out) if row["path"] == str(path)]
        assert row["what"] == "not read" and row["why"].startswith("it may not be looked at; run this as root (sudo), or ")

    def test_a_link_whose_file_is_gone_is_gone_and_a_log_that_is_refused_is_said_as_that(self, node: Node, capsys):
        node.tree.write(cri("one"))
        node.shipped(5)
        outside = node.root / "outside.log"
        outside.write_bytes(cri("x"))
        refused, gone = node.tree.links / "refused.log", node.tree.links / "gone.log"
        refused.symlink_to(outside)
        gone.symlink_to(node.root / "nothing.log")
        node.pos.write_text("".join(f"{path}\t{2:016x}\t{7:016x}\n" for path in (refused, gone)))
        assert node.take_over("--json", "--dry-run") == 0
        rows = {row["path"]: (row["what"], row["why"]) for row in json.loads(capsys.readouterr().out)}
        assert rows[str(gone)] == ("gone", "its link leads to no file any more")
        assert rows[str(refused)] == (
            "not read", "a source includes it, but excludes or refuses it: see exclude and allowed_roots")

    @pytest.mark.parametrize("agent", ["fluentd", "fluent-bit"])
    def test_positions_that_may_not_be_read_ask_for_another_user_not_another_name(self, node: Node, capsys, monkeypatch, agent):
        node.pos.write_text("x")

        def forbidden(*args):
            raise PermissionError(13, "Permission denied")

        monkeypatch.setitem(READERS, agent, forbidden)
        assert node.take_over(agent=agent) == 2
        assert "cannot be read: Permission denied; run this as root (sudo), or as who may read it" in capsys.readouterr().err

    @pytest.mark.parametrize(("content", "agent", "message"), [
        (b"hello\n", "fluentd", "no line of it is a position; is it fluentd's pos_file?"),
        (b"hello\n", "fluent-bit", "is it the DB of Fluent Bit's tail input?"),
    ])
    def test_another_file_is_refused(self, node: Node, capsys, content, agent, message):
        node.pos.write_bytes(content)
        assert node.take_over(agent=agent) == 2
        assert message in capsys.readouterr().err

    def test_a_node_that_never_had_the_other_agent(self, node: Node, capsys):
        assert node.take_over() == 2
        assert "No such file or directory; name the file that fluentd keeps its positions in" in capsys.readouterr().err
        assert node.take_over("--missing-ok") == 0

    def test_wrong_usage_says_how_it_is_written(self, capsys):
        assert main(["positions", "import"]) == 2
        assert "write shipper positions import --from fluentd|fluent-bit PATH -c FILE" in capsys.readouterr().err
        assert main(["positions", "show", "--dry-run"]) == 2
        assert "did you mean positions import?" in capsys.readouterr().err
