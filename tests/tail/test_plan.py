"""N1 to N3: verdicts on what lies in a directory. No files."""
from __future__ import annotations

from dataclasses import replace

from shipper.tail.identity import digest
from shipper.tail.plan import Begin, Continue, FoundFile, KnownFile, plan


def found(name: str, content: bytes, inode: int, *, order: int, live: bool = False, first_ns: int = 0) -> FoundFile:
    def guard_at(offset: int) -> str | None:
        return digest(content[max(0, offset - 64) : offset]) if len(content) >= offset else None

    return FoundFile(name, 1, inode, live, name.endswith(".gz"), order, content[:1024], first_ns, guard_at)


def known(key: str, content: bytes, inode: int, offset: int, *, closed: bool = False, last_ns: int = 5) -> KnownFile:
    head = content[:1024]
    guard = digest(content[max(0, offset - 64) : offset])
    return KnownFile(key, 1, inode, len(head), digest(head), offset, guard, len(content), last_ns, closed)


OLD, NEW = b"first line of old\n" * 9, b"another beginning\n" * 9


def test_a_renamed_file_is_continued_and_the_new_one_begun_behind_it():
    verdict = plan(
        [known("k", OLD, 1, 18)], [found("0.log", NEW, 2, order=1, live=True), found("0.log.x", OLD, 1, order=0)],
        start_at="beginning",
    )
    assert [(type(v), v.found.path) for v in verdict.files] == [(Continue, "0.log.x"), (Begin, "0.log")]
    assert not verdict.lost and not verdict.copies


def test_a_compressed_one_with_another_inode_is_the_same_file():
    verdict = plan([known("k", OLD, 1, 18)], [found("0.log.x.gz", OLD, 7, order=0)], start_at="beginning")
    assert isinstance(verdict.files[0], Continue) and verdict.files[0].key == "k"


def test_beside_the_file_itself_the_same_content_is_a_copy():
    """copytruncate in the middle"""
    verdict = plan(
        [known("k", OLD, 1, 18)], [found("app.log.1", OLD, 9, order=0), found("app.log", OLD, 1, order=1, live=True)],
        start_at="beginning",
    )
    assert [v.found.path for v in verdict.files] == ["app.log"]
    assert [f.path for f in verdict.copies] == ["app.log.1"]


def test_a_copy_still_being_made_is_looked_at_later():
    verdict = plan(
        [known("k", OLD * 20, 1, 3000)],
        [found("app.log.1", (OLD * 20)[:1100], 9, order=0), found("app.log", OLD * 20, 1, order=1, live=True)],
        start_at="beginning",
    )
    assert [f.path for f in verdict.later] == ["app.log.1"]


def test_shorter_and_begun_alike_it_is_a_copy_where_it_ends_before_the_last_record_else_a_file_of_its_own():
    short = found("app.log.1", (OLD * 20)[:1100], 9, order=0)
    for mtime_ns, begun in [(5, False), (6, True), (0, True)]:
        verdict = plan([known("k", OLD * 20, 1, 3000, closed=True)], [replace(short, mtime_ns=mtime_ns)], start_at="beginning")
        assert [v.found.path for v in verdict.files] == ["app.log.1"] * begun
        assert [f.path for f in verdict.copies] == ["app.log.1"] * (not begun)


def test_the_same_inode_with_other_content_is_another_file():
    verdict = plan([known("k", OLD, 1, 18)], [found("0.log", NEW, 1, order=0, live=True)], start_at="beginning")
    assert isinstance(verdict.files[0], Begin)
    assert [k.key for k in verdict.lost] == ["k"]


def test_what_was_read_to_its_end_and_is_gone_is_not_lost():
    verdict = plan([known("k", OLD, 1, len(OLD), closed=True)], [], start_at="beginning")
    assert not verdict.lost


def test_files_follow_in_the_order_of_their_content_not_of_their_names():
    """N2: at the end of summer time 02:30 comes twice."""
    files = [
        found("0.log.20261025-021500", b"b" * 50, 2, order=0, first_ns=200),
        found("0.log.20261025-024500", b"a" * 50, 1, order=1, first_ns=100),
        found("0.log", b"c" * 50, 3, order=2, live=True, first_ns=50),
    ]
    assert [v.found.first_ns for v in plan([], files, start_at="beginning").files] == [100, 200, 50]
    untimed = [replace(f, first_ns=0) for f in files]
    assert [v.found.order for v in plan([], untimed, start_at="beginning").files] == [0, 1, 2]


def test_start_at_end_leaves_old_siblings_alone_but_not_what_came_after_a_known_file():
    before = found("0.log.1", b"x" * 50, 5, order=0)
    mine = found("0.log.2", OLD, 1, order=1)
    after = found("0.log.3", b"y" * 50, 6, order=2)
    live = found("0.log", NEW, 7, order=3, live=True)
    first = plan([], [before, live], start_at="end")
    assert [v.found.path for v in first.files] == ["0.log"]
    again = plan([known("k", OLD, 1, 18)], [before, mine, after, live], start_at="end")
    assert [v.found.path for v in again.files] == ["0.log.2", "0.log.3", "0.log"]


def test_each_known_file_is_continued_at_most_once():
    """N1"""
    verdict = plan(
        [known("k", OLD, 1, 18)], [found("a.gz", OLD, 5, order=0), found("b.gz", OLD, 6, order=1)], start_at="beginning"
    )
    assert [type(v) for v in verdict.files] == [Continue] and len(verdict.copies) == 1


def test_where_none_of_the_known_files_is_there_and_another_begins_what_came_between_may_be_lost():
    """All were read to their ends: at least 0 bytes, behind the newest of them."""
    knowns = [known("old", OLD, 1, len(OLD), closed=True, last_ns=5), known("new", NEW, 2, len(NEW), closed=True, last_ns=9)]
    another = found("0.log", b"third\n" * 20, 3, order=1, live=True)
    assert [k.key for k in plan(knowns, [another], start_at="beginning").lost] == ["new"]
    assert plan(knowns, [found("0.log.1", OLD, 1, order=0), another], start_at="beginning").lost == []
    assert plan(knowns, [], start_at="beginning").lost == []


def test_a_gz_is_a_known_file_by_its_length_only_where_that_was_read_to_its_end():
    """Not inflated to prove it; where it was not read to its end the guard does."""
    def gz(size_bytes: int) -> FoundFile:
        return replace(found("0.log.x.gz", OLD, 7, order=0), size_bytes=size_bytes, guard_at=lambda offset: None)

    read = known("k", OLD, 1, len(OLD), closed=True)
    assert isinstance(plan([read], [gz(len(OLD))], start_at="beginning").files[0], Continue)
    assert isinstance(plan([read], [gz(-1)], start_at="beginning").files[0], Continue), "its trailer could not be read"
    assert isinstance(plan([read], [gz(len(OLD) + 1)], start_at="beginning").files[0], Begin)
    assert isinstance(plan([replace(read, closed=False)], [gz(len(OLD))], start_at="beginning").files[0], Begin)


def test_a_gz_that_ends_too_early_is_looked_at_later():
    half = replace(found("0.log.x.gz", OLD[:20], 7, order=0), damaged=lambda: True)
    mine = replace(known("k", OLD, 1, 100), head_bytes=18, head_hash=digest(OLD[:18]))
    verdict = plan([mine], [half], start_at="beginning")
    assert [f.path for f in verdict.later] == ["0.log.x.gz"]


def test_start_at_end_where_no_known_file_is_there_takes_what_was_written_since():
    mine = known("k", OLD, 1, len(OLD), closed=True, last_ns=50)
    older = found("0.log.1", b"x" * 50, 5, order=0, first_ns=40)
    newer = found("0.log.2", b"y" * 50, 6, order=1, first_ns=60)
    verdict = plan([mine], [older, newer, found("0.log", NEW, 7, order=3, live=True)], start_at="end")
    assert [v.found.path for v in verdict.files] == ["0.log.2", "0.log"]
