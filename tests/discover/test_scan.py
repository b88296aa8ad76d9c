"""Which lineages there are (D1 to D6 in shipper/discover/scan.py)."""
import os
import shutil
from pathlib import Path

import pytest

from shipper.discover.names import source_of
from shipper.discover.resolve import MAX_HOPS, Directories, resolve
from shipper.discover.scan import TURNS
from shipper.errors import FileRefused
from tests.discover.node import ID, UID, unsure_now_ns


def names(logfiles):
    return sorted(logfile.source.pod or logfile.name for logfile in logfiles)


def files_of(discoverer, logfile):
    return [sibling.name for sibling in discoverer.siblings(logfile)]


def test_a_pod_that_starts_appears_once_with_what_its_names_say(node):
    discoverer = node.discoverer()
    assert not discoverer.scan()
    log = node.pod_log("web-0", restart=2)
    [logfile] = discoverer.scan().appeared
    source = logfile.source
    assert (source.kind, source.name, source.node) == ("containers", "containers", "n1")
    assert (source.namespace, source.pod, source.pod_uid, source.container) == ("default", "web-0", UID, "web")
    assert (source.container_id, source.restart) == (ID, 2)
    assert (source.path, source.lineage) == (str(node.link("web-0")), str(log))
    assert (logfile.live_path, logfile.directory, logfile.name) == (str(log), str(log.parent), "2.log")
    assert not discoverer.scan()
    assert list(discoverer.files) == [logfile]


def test_a_restart_is_another_lineage(node):
    discoverer = node.discoverer()
    node.pod_log("web-0")
    discoverer.scan()
    node.pod_log("web-0", restart=1, container_id="b" * 64)
    changes = discoverer.scan()
    assert [f.name for f in changes.appeared] == ["1.log"]
    assert [f.name for f in changes.changed] == ["0.log"], "the same directory has other entries"
    assert not changes.vanished


def test_a_rotation_is_a_change_and_the_dangling_link_does_not_make_the_lineage_vanish(node):
    discoverer = node.discoverer()
    log = node.pod_log("web-0")
    [logfile] = discoverer.scan().appeared
    log.rename(f"{log}.20261120-090405")
    changes = discoverer.scan()
    assert (changes.appeared, changes.vanished, changes.changed) == ([], [], [logfile])
    assert files_of(discoverer, logfile) == ["0.log.20261120-090405"]
    log.write_bytes(b"new\n")
    assert discoverer.scan().changed == [logfile]
    assert files_of(discoverer, logfile) == ["0.log.20261120-090405", "0.log"]


def test_a_link_that_dangles_over_an_empty_directory_keeps_its_lineage(node):
    discoverer = node.discoverer()
    log = node.pod_log("web-0")
    [logfile] = discoverer.scan().appeared
    log.unlink()
    assert discoverer.scan().changed == [logfile]
    assert discoverer.siblings(logfile) == []
    assert list(discoverer.files) == [logfile]


def test_a_link_that_is_gone_keeps_its_lineage_while_files_are_left(node):
    discoverer = node.discoverer()
    log = node.pod_log("web-0")
    [logfile] = discoverer.scan().appeared
    node.link("web-0").unlink()
    assert not discoverer.scan()
    log.rename(f"{log}.20261120-090405")
    assert discoverer.scan().changed == [logfile]
    (log.parent / "0.log.20261120-090405").unlink()
    assert discoverer.scan().vanished == [logfile]
    assert list(discoverer.files) == []


def test_a_lineage_without_files_vanishes_when_its_link_goes(node):
    discoverer = node.discoverer()
    log = node.pod_log("web-0")
    [logfile] = discoverer.scan().appeared
    log.unlink()
    assert not discoverer.scan().vanished
    node.link("web-0").unlink()
    assert discoverer.scan().vanished == [logfile]


def test_a_deleted_pod_vanishes_with_its_directory_though_its_link_is_left_and_comes_back_with_it(node):
    discoverer = node.discoverer()
    log = node.pod_log("web-0")
    [logfile] = discoverer.scan().appeared
    shutil.rmtree(log.parent.parent)
    assert discoverer.scan().vanished == [logfile]
    assert discoverer.siblings(logfile) == []
    assert not discoverer.scan()
    node.pod_log("web-0", link=False)
    [again] = discoverer.scan().appeared
    assert again is not logfile and again.live_path == logfile.live_path


def test_a_link_made_before_its_directory_is_followed_once_that_is_there(node):
    discoverer = node.discoverer()
    log = node.pods / f"default_web-0_{UID}" / "web" / "0.log"
    node.link("web-0").symlink_to(log)
    assert not discoverer.scan()
    log.parent.mkdir(parents=True)
    [logfile] = discoverer.scan().appeared
    assert logfile.live_path == str(log)


def test_docker_s_chain_of_links_is_one_lineage_in_docker_s_directory(node):
    docker = node.root / "docker" / ID
    docker.mkdir(parents=True)
    json_log = docker / f"{ID}-json.log"
    json_log.write_bytes(b"{}\n")
    pods = node.pods / f"default_web-0_{UID}" / "web"
    pods.mkdir(parents=True)
    (pods / "4.log").symlink_to(json_log)
    node.link("web-0").symlink_to(pods / "4.log")
    discoverer = node.discoverer(node.containers(allowed_roots=(str(node.pods), str(docker.parent))))
    [logfile] = discoverer.scan().appeared
    assert logfile.live_path == str(json_log)
    assert (logfile.source.pod_uid, logfile.source.restart, logfile.source.container_id) == (UID, 4, ID)
    json_log.rename(f"{json_log}.1")
    assert discoverer.scan().changed == [logfile]
    assert files_of(discoverer, logfile) == [f"{ID}-json.log.1"]
    shutil.rmtree(pods)
    assert not discoverer.scan().vanished, "docker's files are still there to be read"
    shutil.rmtree(docker)
    assert discoverer.scan().vanished == [logfile]


def test_a_link_in_the_middle_of_the_chain_that_leads_elsewhere_is_followed(node):
    docker = node.root / "docker"
    logs = []
    for container_id in ("a" * 64, "b" * 64):
        (docker / container_id).mkdir(parents=True)
        logs.append(docker / container_id / f"{container_id}-json.log")
        logs[-1].write_bytes(b"{}\n")
    pods = node.pods / f"default_web-0_{UID}" / "web"
    pods.mkdir(parents=True)
    (pods / "0.log").symlink_to(logs[0])
    node.link("web-0").symlink_to(pods / "0.log")
    discoverer = node.discoverer(node.containers(allowed_roots=(str(docker),)))
    assert [f.live_path for f in discoverer.scan().appeared] == [str(logs[0])]
    (pods / "0.log").unlink()
    (pods / "0.log").symlink_to(logs[1])
    changes = discoverer.scan()
    assert ([f.live_path for f in changes.appeared], changes.vanished) == ([str(logs[1])], []), "the old one has its file"


def test_a_chain_of_too_many_links_is_refused(node):
    log = node.pod_log("web-0", link=False)
    (node.root / "link0").symlink_to(log)
    for number in range(1, MAX_HOPS + 1):
        (node.root / f"link{number}").symlink_to(f"link{number - 1}")
    assert resolve(str(node.root / f"link{MAX_HOPS - 1}")).path == str(log)
    with pytest.raises(FileRefused, match="lead nowhere"):
        resolve(str(node.root / f"link{MAX_HOPS}"))


def test_a_file_belongs_to_the_first_source_and_the_overlap_is_said_once(node):
    for number in range(3):
        node.pod_log(f"web-{number}")
    second = node.hosts("pods/*/*/*.log", name="second")
    discoverer = node.discoverer(node.containers(), second)
    assert [f.source_name for f in discoverer.scan().appeared] == ["containers"] * 3
    node.telemetry.now_s = lambda: 1e9                    # what is said again and again would be written again by now
    node.pod_log("web-3")
    assert [f.source_name for f in discoverer.scan().appeared] == ["containers"]
    [said] = node.said("sources_overlap")
    assert (said["read_by"], said["not_by"]) == ("containers", "second")


def test_a_directory_that_is_known_by_two_paths_holds_one_lineage(node, monkeypatch):
    (node.root / "a").mkdir()
    (node.root / "b").mkdir()
    (node.root / "a" / "app.log").write_bytes(b"x")
    (node.root / "b" / "app.log").write_bytes(b"x")
    real_stat, a, b = os.stat, f"{node.root}/a", f"{node.root}/b"
    monkeypatch.setattr(os, "stat", lambda path, **more: real_stat(a if path == b else path, **more))  # as a bind mount does
    discoverer = node.discoverer(node.hosts("a/*.log", name="one"), node.hosts("b/*.log", name="two"))
    assert [f.live_path for f in discoverer.scan().appeared] == [f"{a}/app.log"]
    assert len(node.said("sources_overlap")) == 1


def test_a_new_directory_with_a_deleted_one_s_inode_is_another_lineage(node, monkeypatch):
    """Inodes are used again at once: the place of the old directory proves nothing once it is gone."""
    (node.root / "a").mkdir()
    (node.root / "a" / "app.log").write_bytes(b"x")
    discoverer = node.discoverer(node.hosts("*/app.log"))
    [old] = discoverer.scan().appeared
    (node.root / "a").rename(node.root / "b")
    changes = discoverer.scan()
    assert (names(changes.appeared), changes.vanished) == (["app.log"], [old])
    assert changes.appeared[0].directory == f"{node.root}/b"


def test_a_directory_renamed_and_made_anew_is_two_lineages(node):
    (node.root / "a").mkdir()
    (node.root / "a" / "app.log").write_bytes(b"x")
    discoverer = node.discoverer(node.hosts("*/app.log"))
    discoverer.scan()
    (node.root / "a").rename(node.root / "b")
    (node.root / "a").mkdir()
    (node.root / "a" / "app.log").write_bytes(b"y")
    changes = discoverer.scan()
    assert ([f.directory for f in changes.appeared], changes.vanished) == ([f"{node.root}/b"], [])
    assert node.said("sources_overlap") == []


def test_a_link_that_leads_outside_the_roots_is_no_lineage(node):
    (node.root / "secrets").mkdir()
    (node.root / "secrets" / "0.log").write_bytes(b"secret")
    node.link("evil").symlink_to(node.root / "secrets" / "0.log")
    discoverer = node.discoverer()
    assert not discoverer.scan()
    assert not discoverer.scan()
    [said] = node.said("file_refused")
    assert "allowed_roots" in str(said["why"])
    assert node.telemetry.value("shipper_refused_files_total", "outside_roots") == 1


def test_a_link_that_goes_between_the_listing_and_the_look_at_it_is_no_refused_file(node, monkeypatch):
    """A pod that ended in that moment raised the alert for files that lie outside allowed_roots."""
    log, link = node.pod_log("web-0"), node.link("web-0")
    readlink = os.readlink

    def too_late(path, *rest):
        if str(path) == str(link) and link.is_symlink():
            link.unlink()
        return readlink(path, *rest)

    monkeypatch.setattr(os, "readlink", too_late)
    discoverer = node.discoverer()
    assert not discoverer.scan()
    assert not node.said("file_refused")
    monkeypatch.undo()
    discoverer.scan()
    link.symlink_to(log)
    assert len(discoverer.scan().appeared) == 1


def test_a_containers_log_behind_a_link_that_a_source_of_files_took_is_told_as_that(node):
    for path, told in (("pods/shop_web-0_u/web/0.log", True), ("docker/c1-json.log", True), ("secrets/0.log", False)):
        target = node.root / "elsewhere" / path
        target.parent.mkdir(parents=True)
        target.write_bytes(b"x")
        links = node.root / f"links-{target.name}-{told}"
        links.mkdir()
        (links / "x.log").symlink_to(target)
        before = len(node.said("file_refused"))
        node.discoverer(node.hosts(f"{links.name}/*.log")).scan()
        node.telemetry._said.clear()
        (said,) = node.said("file_refused")[before:]
        assert ("`type: containers`" in str(said["why"])) is told and "add its directory there" in str(said["why"])


def test_a_loop_of_links_is_reported_and_stops_nothing(node):
    node.link("loop").symlink_to(node.link("loop"))
    node.pod_log("web-0")
    discoverer = node.discoverer()
    assert names(discoverer.scan().appeared) == ["web-0"]
    assert node.telemetry.value("shipper_refused_files_total", "loop") == 1


def test_hostile_names_are_lineages_like_others(node):
    for raw in (b"evil\npod", b"sp ace", b"\xff\xfe", b"a..", b"x" * 150):
        node.pod_log(os.fsdecode(raw))
    discoverer = node.discoverer()
    changes = discoverer.scan()
    assert names(changes.appeared) == sorted(["evil\npod", "sp ace", "\ufffd\ufffd", "a..", "x" * 150])
    for logfile in changes.appeared:
        assert [sibling.path for sibling in discoverer.siblings(logfile)] == [logfile.live_path]


def test_what_is_excluded_is_left_out(node):
    for pod, namespace in (("web-0", "prod"), ("dns", "kube-system"), ("shipper-x", "prod")):
        node.pod_log(pod, namespace=namespace)
    discoverer = node.discoverer(node.containers(exclude=("*_kube-system_*", f"{node.links}/shipper-*.log")))
    assert names(discoverer.scan().appeared) == ["web-0"]
    assert not discoverer.scan()


class TestHostFiles:
    def test_rotated_siblings_that_match_are_no_lineages(self, node):
        log = node.root / "log"
        log.mkdir()
        for name in ("app.log", "app.log.1", "app.log.2.gz", "syslog", "syslog.1", "old.gz", "only.1"):
            (log / name).write_bytes(b"x")
        (log / "directory.log").mkdir()
        os.mkfifo(log / "fifo.log")
        discoverer = node.discoverer(node.hosts("log/*"))
        changes = discoverer.scan()
        assert names(changes.appeared) == ["app.log", "only", "syslog"]
        by_name = {f.name: f for f in changes.appeared}
        assert files_of(discoverer, by_name["app.log"]) == ["app.log.2.gz", "app.log.1", "app.log"]
        assert files_of(discoverer, by_name["only"]) == ["only.1"]

    def test_a_rename_and_create_keeps_the_lineage(self, node):
        log = node.root / "log"
        log.mkdir()
        (log / "app.log").write_bytes(b"x")
        discoverer = node.discoverer(node.hosts("log/*.log*"))
        [logfile] = discoverer.scan().appeared
        (log / "app.log").rename(log / "app.log.1")
        changes = discoverer.scan()
        assert (changes.appeared, changes.vanished, changes.changed) == ([], [], [logfile])
        (log / "app.log").write_bytes(b"y")
        changes = discoverer.scan()
        assert (changes.appeared, changes.vanished, changes.changed) == ([], [], [logfile])
        assert files_of(discoverer, logfile) == ["app.log.1", "app.log"]

    def test_a_deleted_file_vanishes(self, node):
        (node.root / "app.log").write_bytes(b"x")
        discoverer = node.discoverer(node.hosts("app.log"))
        [logfile] = discoverer.scan().appeared
        (node.root / "app.log").unlink()
        assert discoverer.scan().vanished == [logfile]
        (node.root / "app.log").write_bytes(b"x")
        assert len(discoverer.scan().appeared) == 1

    def test_their_roots_are_the_directories_of_the_includes(self, node):
        (node.root / "log").mkdir()
        (node.root / "data").mkdir()
        (node.root / "data" / "real.log").write_bytes(b"x")
        (node.root / "log" / "app.log").symlink_to(node.root / "data" / "real.log")
        assert not node.discoverer(node.hosts("log/*.log")).scan()
        allowed = node.hosts("log/*.log", allowed_roots=(f"{node.root}/data",))
        [logfile] = node.discoverer(allowed).scan().appeared
        assert logfile.live_path == f"{node.root}/data/real.log"
        assert logfile.allowed_roots == (f"{node.root}/log", f"{node.root}/data")

    def test_a_link_that_is_set_to_another_file_is_followed(self, node):
        (node.root / "log").mkdir()
        for name in ("a", "b"):
            (node.root / "log" / name).write_bytes(b"x")
        link = node.root / "log" / "current.log"
        link.symlink_to("a")
        discoverer = node.discoverer(node.hosts("log/*.log"))
        assert names(discoverer.scan().appeared) == ["a"]
        (node.root / "new").symlink_to("b")
        (node.root / "new").rename(link)
        changes = discoverer.scan()
        assert (names(changes.appeared), changes.vanished) == (["b"], [])

    def test_directories_below_a_double_star_are_found_when_they_come(self, node):
        (node.root / "log").mkdir()
        (node.root / "log" / "loop").symlink_to(node.root / "log")
        discoverer = node.discoverer(node.hosts("log/**/*.log"))
        assert not discoverer.scan()
        deep = node.root / "log" / "a" / "b"
        deep.mkdir(parents=True)
        (deep / "x.log").write_bytes(b"x")
        [logfile] = discoverer.scan().appeared
        assert logfile.live_path == f"{deep}/x.log"

    def test_a_directory_that_is_not_there_yet_is_waited_for(self, node):
        discoverer = node.discoverer(node.hosts("not/yet/*.log"))
        assert not discoverer.scan()
        assert str(node.root) in discoverer.directories(), "its nearest ancestor is to be watched"
        (node.root / "not" / "yet").mkdir(parents=True)
        (node.root / "not" / "yet" / "a.log").write_bytes(b"x")
        discoverer.note(str(node.root))
        assert names(discoverer.scan(full=False).appeared) == ["a.log"]


class TestCost:
    @pytest.fixture
    def calls(self, monkeypatch):
        counts = {"scandir": 0, "stat": 0, "readlink": 0}

        def counting(name):
            real = getattr(os, name)

            def call(*args, **more):
                counts[name] += 1
                return real(*args, **more)
            monkeypatch.setattr(os, name, call)

        for name in counts:
            counting(name)
        return counts

    def scan_counted(self, calls, discoverer, **how):
        calls.update(dict.fromkeys(calls, 0))
        changes = discoverer.scan(**how)
        return changes, dict(calls)

    def test_a_scan_that_finds_nothing_new_lists_nothing(self, node, calls):
        for number in range(30):
            node.pod_log(f"web-{number}")
        discoverer = node.discoverer()
        assert len(discoverer.scan().appeared) == 30
        changes, counts = self.scan_counted(calls, discoverer)
        assert not changes
        assert counts == {"scandir": 0, "stat": 31, "readlink": 0}

    def test_a_change_lists_only_its_directory(self, node, calls):
        logs = [node.pod_log(f"web-{number}") for number in range(30)]
        discoverer = node.discoverer()
        discoverer.scan()
        logs[7].rename(f"{logs[7]}.20261120-090405")
        changes, counts = self.scan_counted(calls, discoverer)
        assert [f.live_path for f in changes.changed] == [str(logs[7])]
        assert (counts["scandir"], counts["readlink"]) == (1, 0)

    def test_a_scan_for_noted_directories_looks_only_there(self, node, calls):
        logs = [node.pod_log(f"web-{number}") for number in range(30)]
        discoverer = node.discoverer()
        discoverer.scan()
        logs[3].rename(f"{logs[3]}.20261120-090405")
        logs[4].rename(f"{logs[4]}.20261120-090405")
        discoverer.note(str(logs[3].parent))
        changes, counts = self.scan_counted(calls, discoverer, full=False)
        assert [f.live_path for f in changes.changed] == [str(logs[3])]
        assert (counts["scandir"], counts["stat"]) == (1, 1)

    def test_one_more_container_reads_one_link(self, node, calls):
        for number in range(30):
            node.pod_log(f"web-{number}")
        discoverer = node.discoverer()
        discoverer.scan()
        node.pod_log("new")
        changes, counts = self.scan_counted(calls, discoverer)
        assert names(changes.appeared) == ["new"]
        assert (counts["scandir"], counts["readlink"]) == (2, 1), "two directories, of which one shows that the target is no link"

    def test_watched_directories_are_looked_at_in_turn(self, node, calls):
        logs = [node.pod_log(f"web-{number}") for number in range(59)]
        watched: set[str] = set()
        discoverer = node.discoverer(watched=watched)
        discoverer.scan()
        watched |= discoverer.directories()
        logs[5].rename(f"{logs[5]}.20261120-090405")  # an event that got lost
        seen = []
        for _ in range(TURNS):
            changes, counts = self.scan_counted(calls, discoverer)
            seen += [f.live_path for f in changes.changed]
            assert counts["stat"] == 10
        assert seen == [str(logs[5])]

    def test_after_lost_events_all_are_looked_at(self, node, calls):
        for number in range(30):
            node.pod_log(f"web-{number}")
        watched: set[str] = set()
        discoverer = node.discoverer(watched=watched)
        discoverer.scan()
        watched |= discoverer.directories()
        discoverer.distrust()
        assert self.scan_counted(calls, discoverer)[1]["stat"] == 31

    def test_a_noted_directory_is_looked_at_in_a_full_scan_too(self, node):
        logs = [node.pod_log(f"web-{number}") for number in range(TURNS)]
        watched: set[str] = set()
        discoverer = node.discoverer(watched=watched)
        discoverer.scan()
        watched |= discoverer.directories()
        for log in logs:
            log.rename(f"{log}.20261120-090405")
            discoverer.note(str(log.parent))
        assert len(discoverer.scan().changed) == TURNS

    def test_a_directory_with_a_young_stamp_is_looked_at_out_of_its_turn_though_it_is_watched(self, node, calls):
        logs = [node.pod_log(f"web-{number}") for number in range(2 * TURNS)]
        node.now_ns = unsure_now_ns(logs[-1].parent)
        watched: set[str] = set()
        discoverer = node.discoverer(watched=watched)
        discoverer.scan()
        watched |= discoverer.directories()
        assert self.scan_counted(calls, discoverer)[1]["scandir"] == len(watched)

    def test_a_young_stamp_is_not_believed(self, node, calls):
        log = node.pod_log("web-0")
        node.now_ns = unsure_now_ns(log.parent)
        discoverer = node.discoverer()
        [logfile] = discoverer.scan().appeared
        stamp = os.stat(log.parent)
        other = log.parent / "other"
        os.rename(log, other)  # replaced by another inode of the same name ...
        log.write_bytes(b"new")
        other.unlink()
        node.now_ns = 2**62
        real_stat = os.stat
        with pytest.MonkeyPatch.context() as patch:  # ... within one tick of the file system's clock
            patch.setattr(os, "stat", lambda path, **more: stamp if path == str(log.parent) else real_stat(path, **more))
            assert discoverer.scan().changed == [logfile]
            changes, counts = self.scan_counted(calls, discoverer)
        assert (bool(changes), counts["scandir"]) == (False, 0), "by now it is old enough"


class TestSiblings:
    def test_they_carry_what_stat_says(self, node):
        log = node.pod_log("web-0", content=b"12345")
        (log.parent / "0.log.20261119-000000.gz").write_bytes(b"gz")
        discoverer = node.discoverer()
        [logfile] = discoverer.scan().appeared
        old, live = discoverer.siblings(logfile)
        assert (old.name, old.compressed, old.rotated, old.size) == ("0.log.20261119-000000.gz", True, True, 2)
        stat = log.stat()
        assert (live.path, live.rotated, live.size, live.inode, live.device, live.mtime_ns) == (
            str(log), False, 5, stat.st_ino, stat.st_dev, stat.st_mtime_ns)

    def test_what_is_no_regular_file_is_left_out(self, node):
        log = node.pod_log("web-0")
        (log.parent / "0.log.20261119-000000").symlink_to("/etc/passwd")
        os.mkfifo(log.parent / "0.log.20261119-000001")
        discoverer = node.discoverer()
        [logfile] = discoverer.scan().appeared
        assert files_of(discoverer, logfile) == ["0.log"]

    def test_a_rotation_between_listing_and_stat_is_seen_as_a_whole(self, node, monkeypatch):
        log = node.pod_log("web-0")
        discoverer = node.discoverer()
        [logfile] = discoverer.scan().appeared
        first_inode, real_lstat, rotated = log.stat().st_ino, os.lstat, []

        def rotate_then_lstat(path, **more):
            if not rotated:
                rotated.append(True)
                log.rename(f"{log}.20261120-090405")
                log.write_bytes(b"new")
            return real_lstat(path, **more)

        monkeypatch.setattr(os, "lstat", rotate_then_lstat)
        found = discoverer.siblings(logfile)
        assert [(s.name, s.inode == first_inode) for s in found] == [("0.log.20261120-090405", True), ("0.log", False)]

    def test_asking_for_siblings_does_not_swallow_the_change(self, node):
        log = node.pod_log("web-0")
        discoverer = node.discoverer()
        [logfile] = discoverer.scan().appeared
        log.rename(f"{log}.20261120-090405")
        discoverer.siblings(logfile)
        assert discoverer.scan().changed == [logfile]


class TestAdopt:
    def source(self, node, log, name="containers"):
        return source_of("containers", name, "n1", [str(node.link("web-0")), str(log)], str(log))

    def test_a_lineage_whose_link_is_gone_is_taken_up_and_vanishes_with_its_files(self, node):
        log = node.pod_log("web-0", link=False)
        discoverer = node.discoverer()
        assert not discoverer.scan()
        source = self.source(node, log)
        logfile = discoverer.adopt(source)
        assert logfile is not None and logfile.source is source
        assert files_of(discoverer, logfile) == ["0.log"]
        assert not discoverer.scan()
        log.unlink()
        assert discoverer.scan().vanished == [logfile]

    def test_one_that_was_found_is_returned_as_it_is(self, node):
        log = node.pod_log("web-0")
        discoverer = node.discoverer()
        [logfile] = discoverer.scan().appeared
        assert discoverer.adopt(self.source(node, log)) is logfile

    def test_a_link_that_comes_later_leads_to_the_adopted_one(self, node):
        log = node.pod_log("web-0", link=False)
        discoverer = node.discoverer()
        logfile = discoverer.adopt(self.source(node, log))
        node.link("web-0").symlink_to(log)
        assert not discoverer.scan()
        assert list(discoverer.files) == [logfile]

    def test_only_rotated_files_left_is_enough(self, node):
        log = node.pod_log("web-0", link=False)
        log.rename(f"{log}.20261120-090405")
        discoverer = node.discoverer()
        assert discoverer.adopt(self.source(node, log)) is not None

    def test_what_is_gone_or_foreign_is_not_adopted(self, node):
        log = node.pod_log("web-0", link=False)
        discoverer = node.discoverer()
        assert discoverer.adopt(self.source(node, log, name="removed from the config")) is None
        assert discoverer.adopt(self.source(node, log.parent / "7.log")) is None
        assert discoverer.adopt(self.source(node, "relative")) is None
        assert discoverer.adopt(self.source(node, node.pods / "gone" / "web" / "0.log")) is None
        (node.root / "elsewhere").mkdir()
        (node.root / "elsewhere" / "0.log").write_bytes(b"x")
        assert discoverer.adopt(self.source(node, node.root / "elsewhere" / "0.log")) is None
        (node.pods / "link").symlink_to(log.parent)
        assert discoverer.adopt(self.source(node, node.pods / "link" / "0.log")) is None
        assert list(discoverer.files) == []


def test_a_rotated_log_goes_with_the_source_that_had_the_live_one_though_another_matches_it_alone(node):
    """D2: while the live name does not exist, only the lineage tells whose it is."""
    (node.root / "app").mkdir()
    log = node.root / "app" / "app.log"
    log.write_bytes(b"x")
    discoverer = node.discoverer(node.hosts("app/*.log", name="live"), node.hosts("app/*.log.*", name="rotated"))
    [logfile] = discoverer.scan().appeared
    log.rename(f"{log}.1")
    changes = discoverer.scan()
    assert changes.appeared == changes.vanished == [] and list(discoverer.files) == [logfile]
    assert files_of(discoverer, logfile) == ["app.log.1"]


def test_a_directory_that_became_a_link_between_two_scans_leads_where_it_leads_now(node):
    """R3: real paths are remembered for one scan."""
    (node.root / "links").mkdir()
    (node.root / "one").mkdir()
    (node.root / "one" / "app.log").write_bytes(b"x")
    (node.root / "links" / "app.log").symlink_to(node.root / "one" / "app.log")
    discoverer = node.discoverer(node.hosts("links/*.log", allowed_roots=(str(node.root),)))
    discoverer.scan()
    shutil.copytree(node.root / "one", node.root / "two")
    shutil.rmtree(node.root / "one")
    (node.root / "one").symlink_to(node.root / "two")
    (node.root / "links" / "other.log").write_bytes(b"x")          # so that its directory is looked at
    appeared = discoverer.scan().appeared
    assert f"{node.root}/two/app.log" in [f.live_path for f in appeared]


def test_a_link_whose_name_kubelet_cut_may_lead_to_another_container_later(node):
    """What stands at its end proves nothing: the same name is made anew for the next container of a pod with a long name."""
    pod = "p" * 190
    first, second = node.pod_log(pod, link=False), node.pod_log(pod, restart=1, link=False)
    link = node.links / f"{pod}_default_web-{'a' * 6}.log"
    link.symlink_to(first)
    discoverer = node.discoverer()
    assert [f.live_path for f in discoverer.scan().appeared] == [str(first)]
    link.unlink()
    link.symlink_to(second)
    assert [f.live_path for f in discoverer.scan().appeared] == [str(second)]


def test_files_are_grouped_anew_in_a_large_directory_where_its_lineages_change(node):
    """T3: groups are kept there. A date in front of the extension is a rotated file only with its live one."""
    directory = node.root / "app"
    directory.mkdir()
    for number in range(20):
        (directory / f"other-{number}x.log").write_bytes(b"x")
    dated = directory / "app-20261120.log"
    dated.write_bytes(b"x")
    discoverer = node.discoverer(node.hosts("app/other-0x.log"))
    [other] = discoverer.scan().appeared
    assert files_of(discoverer, other) == ["other-0x.log"]
    (directory / "app.log.1").write_bytes(b"x")
    discoverer.scan()
    assert files_of(discoverer, other) == ["other-0x.log"]
    path = str(directory / "app.log")
    logfile = discoverer.adopt(source_of("files", "host", "", [path], path))
    assert files_of(discoverer, logfile) == ["app.log.1", "app-20261120.log"]


class TestWants:
    """A source known from positions: is it one that the config still asks for?"""

    def source(self, node, name, kind="files", source="host"):
        path = str(node.root / name)
        return source_of(kind, source, "", [path], path)

    def test_what_is_included_still_is_wanted_and_what_is_excluded_now_is_not(self, node):
        discoverer = node.discoverer(node.hosts("*.log", exclude=("debug*",)))
        (node.root / "debug.log").write_bytes(b"x")
        assert discoverer.wants(self.source(node, "app.log"))
        assert not discoverer.wants(self.source(node, "debug.log")) and not discoverer.wants(self.source(node, "debug-gone.log"))

    def test_what_no_include_matches_any_more_is_wanted_only_where_it_is_gone(self, node):
        discoverer = node.discoverer(node.hosts("*.log"))
        (node.root / "app.txt").write_bytes(b"x")
        assert not discoverer.wants(self.source(node, "app.txt"))
        assert discoverer.wants(self.source(node, "gone.txt")), "what it held is reported, and nothing else asks for it"

    def test_a_source_of_another_name_or_kind_is_not_in_the_config(self, node):
        discoverer = node.discoverer(node.hosts("*.log"))
        assert not discoverer.wants(self.source(node, "app.log", source="other"))
        assert not discoverer.wants(self.source(node, "app.log", kind="containers"))


class TestDirectories:
    """What a watcher should watch holds no more than what a scan looks at."""

    def test_one_that_was_looked_at_for_an_adoption_in_vain_is_forgotten(self, node):
        log = node.pod_log("web-0", link=False)
        log.unlink()
        discoverer = node.discoverer()
        discoverer.scan()
        assert discoverer.adopt(source_of("containers", "containers", "n1", [str(log)], str(log))) is None
        assert str(log.parent) not in discoverer.directories()

    def test_those_on_the_way_of_a_link_that_is_gone_are_forgotten(self, node):
        log = node.pod_log("web-0", link=False)
        (node.root / "hop").mkdir()
        (node.root / "hop" / "web.log").symlink_to(log)
        node.link("web-0").symlink_to(node.root / "hop" / "web.log")
        discoverer = node.discoverer()
        discoverer.scan()
        assert str(node.root / "hop") in discoverer.directories()
        node.link("web-0").unlink()
        discoverer.scan()
        assert str(node.root / "hop") not in discoverer.directories()

    def test_those_that_an_include_leads_to_no_more_are_forgotten(self, node):
        (node.root / "a").mkdir()
        discoverer = node.discoverer(node.hosts("*/app.log"))
        discoverer.scan()
        assert str(node.root / "a") in discoverer.directories()
        (node.root / "a").rmdir()
        discoverer.scan()
        assert f"{node.root}/a" not in discoverer._listings

    def test_one_that_another_is_in_the_place_of_is_said_once(self, node):
        log = node.pod_log("web-0")
        discoverer = node.discoverer()
        discoverer.scan()
        log.parent.rename(f"{log.parent}.moved")
        node.pod_log("web-0", link=False)
        discoverer.scan()
        assert str(log.parent) in discoverer.take_replaced() and discoverer.take_replaced() == set()


def test_a_link_that_was_there_before_its_directory_is_followed_by_the_scan_for_that_event(node):
    discoverer = node.discoverer()
    node.link("web-0").symlink_to(node.pods / f"default_web-0_{UID}" / "web" / "0.log")
    assert not discoverer.scan()
    log = node.pod_log("web-0", link=False)
    node.pod_log("web-1")
    discoverer.note(str(node.links))
    assert str(log) in [f.live_path for f in discoverer.scan(full=False).appeared]


def test_an_unreadable_directory_keeps_its_lineages_and_is_reported(node, monkeypatch):
    log = node.pod_log("web-0")
    discoverer = node.discoverer()
    [logfile] = discoverer.scan().appeared
    real_stat = os.stat

    def deny(path, **more):
        if path == str(log.parent):
            raise PermissionError(13, "Permission denied", path)
        return real_stat(path, **more)

    monkeypatch.setattr(os, "stat", deny)
    assert not discoverer.scan()
    assert list(discoverer.files) == [logfile]
    [said] = node.said("directory_unreadable")
    assert said["path"] == str(log.parent)


def test_real_paths_that_a_scan_remembers_are_those_of_realpath(tmp_path: Path) -> None:
    root = tmp_path.resolve()
    for name in ("a/b/c", "a/d", "e"):
        (root / name).mkdir(parents=True)
    (root / "a/link").symlink_to("../e")
    (root / "a/b/up").symlink_to("../..")
    (root / "loop").symlink_to("loop")
    directories = Directories()
    for name in (
        "a/b/c", "a/d", "a/link", "a/b/up/e", "a/b/up/a/link/gone/x", "a/../e", "a/./d", "a//d", "gone/x", "loop/x", "a/b/",
    ):
        path = f"{root}/{name}"
        for _ in range(2):
            assert directories.of(path) == os.path.realpath(path), name
    assert directories.of("/") == "/" and directories.of("//x") == os.path.realpath("//x")
