"""Listings by themselves (L1 to L4 in shipper/discover/listing.py); what a scan makes of them: test_scan.py."""
from __future__ import annotations

import os
from pathlib import Path

import pytest

from shipper.discover.listing import Listings


@pytest.fixture
def listings() -> Listings:
    return Listings(now_ns=lambda: 2**62)                 # far ahead of the files' times, so that stamps are sure


def test_l3_a_change_is_seen_though_its_time_was_set_back(listings: Listings, tmp_path: Path) -> None:
    path, before = str(tmp_path), os.stat(tmp_path)
    assert listings.get(path) is not None
    (tmp_path / "0.log").write_bytes(b"")
    os.utime(tmp_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert listings.refresh([path]) == {path}


def test_another_directory_in_the_place_of_one_is_said_also_where_its_entries_are_the_same(
    listings: Listings, tmp_path: Path,
) -> None:
    path = tmp_path / "app"
    path.mkdir()
    listings.get(str(path))
    path.rename(tmp_path / "moved")
    path.mkdir()
    listings.refresh([str(path)])
    assert listings.replaced == {str(path)}


def test_l4_a_directory_that_can_be_listed_again_is_not_unreadable_any_more(
    listings: Listings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = str(tmp_path)
    before = listings.get(path)
    (tmp_path / "0.log").write_bytes(b"")

    def deny(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", deny)
        assert listings.refresh([path]) == set() and listings.get(path) is before
    assert listings.unreadable == {path: "Permission denied"}
    assert listings.refresh([path]) == {path} and listings.unreadable == {}
