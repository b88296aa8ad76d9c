"""Which names are rotated siblings, and their order (S1 to S4 in shipper/discover/siblings.py)."""
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.discover.siblings import group, is_compressed, rotated_from


def files_of(live, names, lives=()):
    return [sibling.name for sibling in group("/d", names, lives).get(live, [])]


@pytest.mark.parametrize(("live", "name", "compressed"), [
    ("0.log", "0.log.20261120-090405", False),
    ("0.log", "0.log.20261120-090405.gz", True),
    (f"{'a' * 64}-json.log", f"{'a' * 64}-json.log.1", False),
    (f"{'a' * 64}-json.log", f"{'a' * 64}-json.log.2.gz", True),
    ("app.log", "app.log.1", False),
    ("app.log", "app.log.10.gz", True),
    ("syslog", "syslog.1", False),
    ("app.log", "app.log-20261120", False),
    ("app.log", "app.log-20261120.gz", True),
    ("app.log", "app.log-20261120-1700000000.gz", True),
    ("app.log", "app.log-1700000000", False),
    ("app.log", "app.log-2026112009", False),
    ("app.log", "app.log.2026-11-20", False),
    ("app.log", "app.log.2026-11-20_09-04-05", False),
    ("app.log", "app-20261120.log", False),
    ("app.log", "app-2026-11-20T09-04-05.123.log.gz", True),
    ("app", "app-20261120.1", False),
])
def test_a_rotated_name_belongs_to_its_live_file(live, name, compressed):
    rotated = rotated_from(name, {live, name})
    assert rotated is not None
    assert (rotated.live, rotated.compressed) == (live, compressed)


@pytest.mark.parametrize("name", [
    "0.log.20261120-090405.tmp", "0.log.foo", "10.log", "10.log.20261120-090405", "1.log", "00.log.1", "a0.log.1",
    "0.log.", "0.log.gz", "0.log.1.bak", "0.logx.1", "0.log.20261320-090405", "0.log.1x", "0.log.\u0661",
    "0.log.123456", "0.log~", "0_log.1", "0.log.1.xz",
])
def test_another_name_is_none_of_its_siblings(name):
    assert files_of("0.log", ["0.log", name]) == ["0.log"]


def test_kubelets_files_come_oldest_first_and_the_live_one_last():
    names = ["0.log", "0.log.20261120-091011", "0.log.20261119-235959.gz", "0.log.20261120-090405.gz", "1.log",
             "1.log.20200101-000000"]
    assert files_of("0.log", names) == [
        "0.log.20261119-235959.gz", "0.log.20261120-090405.gz", "0.log.20261120-091011", "0.log"]
    assert files_of("1.log", names) == ["1.log.20200101-000000", "1.log"]


def test_numbers_count_backwards():
    names = ["a.log", "a.log.2", "a.log.10.gz", "a.log.1", "a.log.9.gz"]
    assert files_of("a.log", names) == ["a.log.10.gz", "a.log.9.gz", "a.log.2", "a.log.1", "a.log"]


def test_dates_count_forwards_whatever_stands_between_their_digits():
    names = ["a.log", "a.log-20261120", "a.log.2026-11-19", "a.log-20261120-1700000000.gz", "a.log-2026112009",
             "a.log-20261121.gz"]
    assert files_of("a.log", names) == [
        "a.log.2026-11-19", "a.log-20261120", "a.log-20261120-1700000000.gz", "a.log-2026112009", "a.log-20261121.gz", "a.log"]


def test_a_compressed_file_does_not_count_while_its_plain_one_is_there():
    names = ["0.log", "0.log.20261120-090405", "0.log.20261120-090405.gz"]
    assert files_of("0.log", names) == ["0.log.20261120-090405", "0.log"]
    names.remove("0.log.20261120-090405")
    assert files_of("0.log", names) == ["0.log.20261120-090405.gz", "0.log"]


def test_siblings_are_found_while_there_is_no_live_file():
    assert files_of("0.log", ["0.log.20261120-090405"]) == ["0.log.20261120-090405"]


def test_a_date_before_the_extension_is_believed_only_with_its_live_file():
    assert files_of("app.log", ["app-20261120.log"]) == []
    assert files_of("app-20261120.log", ["app-20261120.log"]) == ["app-20261120.log"]
    assert files_of("app.log", ["app-20261120.log"], lives={"app.log"}) == ["app-20261120.log"]
    assert files_of("app.log", ["app-20261120.log", "app.log"]) == ["app-20261120.log", "app.log"]


def test_a_rotated_file_of_a_live_one_is_no_lineage_of_its_own():
    assert group("/d", ["app.log", "app.log.1"]).keys() == {"app.log"}
    assert group("/d", ["app.log.1"]).keys() == {"app.log", "app.log.1"}
    assert group("/d", ["x.gz", "y.xz"]).keys() == set()


def test_paths_are_in_the_directory():
    assert [s.path for s in group("/d", ["0.log", "0.log.1"])["0.log"]] == ["/d/0.log.1", "/d/0.log"]


NAMES = st.lists(st.builds(
    "{}{}{}".format, st.sampled_from(["0.log", "10.log", "1.log", "app", "app.log", "app.log.1"]),
    st.sampled_from(["", ".1", ".2", "-20261120", ".20261120-090405", "-20261120.1", ".2026.11.20", "-1700000000", ".x"]),
    st.sampled_from(["", "", ".gz", ".tmp", ".log"])), unique=True)


@given(NAMES, st.sets(st.sampled_from(["0.log", "app", "app.log"])), st.randoms())
def test_every_name_has_at_most_one_live_file_and_the_listing_s_order_does_not_matter(names, lives, rng: random.Random):
    groups = group("/d", names, lives)
    known = set(names) | lives
    owners = [sibling.name for live, files in groups.items() if live in known for sibling in files]
    assert len(owners) == len(set(owners))
    rng.shuffle(names)
    assert group("/d", names, lives) == groups
    for live, files in groups.items():
        assert [f.name for f in files if not f.rotated] == [f.name for f in files[-1:] if f.name == live]


@given(st.text(max_size=260))
def test_no_name_raises(name):
    rotated_from(name, {name})
    group("/d", [name])
    is_compressed(name)


def test_of_two_readings_the_one_whose_live_file_is_there_wins_else_the_one_with_the_shortest_live_name():
    assert rotated_from("app.2026.11.20", {"app.2026.11"}).live == "app.2026.11"
    assert rotated_from("app.2026.11.20", {"app"}).live == "app"
    assert rotated_from("app.2026.11.20", ()).live == "app"
