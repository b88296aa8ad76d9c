"""Templates: what they give, what they refuse, and that no name leads out of its directory."""
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.encode.template import MAX_COMPONENT_BYTES, compile_template, sanitise
from shipper.model import Batch, Source

POD = Source("containers", "logs", "/var/log/containers/web.log", "/l", "n1", "default", "web-0", "uid-1", "web", "cid-1", 3,
             {"app": "shop", "app.kubernetes.io/name": "cart"})
READ_NS = 1795165445_123456789          # 2026-11-20T09:04:05Z


def batch_of(source):
    return Batch(source, "k", [], [], [], [], None, READ_NS)


def render(text, source=POD, use="path"):
    return compile_template(text, use).render(batch_of(source))


def named(**names):
    return replace(POD, cache={}, **names)


@pytest.mark.parametrize(("text", "expected"), [
    ("/var/log/archive/{namespace}/{pod}-{container}.ndjson", "/var/log/archive/default/web-0-web.ndjson"),
    ("/a/{time:%Y/%m/%d}/{node}.log", "/a/2026/11/20/n1.log"),
    ("/a/{time:%H%M%S-%j-%y-%F-%T}", "/a/090405-324-26-2026-11-20-09:04:05"),
    ("/a/{time:%s-%%s}", "/a/1795165445-%s"),
    ("/a/{labels.app|none}/{labels.tier|none}", "/a/shop/none"),
    ("/a/{labels.app.kubernetes.io/name}", "/a/cart"),
    ("/a/{labels.tier}", "/a/_"),
    ("/a/{source}.{restart}.{container_id}.{pod_uid}.{kind}", "/a/logs.3.cid-1.uid-1.containers"),
    ("/a/{{x}}.log", "/a/{x}.log"),
    ("/plain/file.ndjson", "/plain/file.ndjson"),
])
def test_fields_are_filled_in(text, expected):
    assert render(text) == expected


@pytest.mark.parametrize(("text", "message"), [
    ("/a/{pood}", r"column 4: unknown field \{pood\}; known are node, source, .*labels.NAME.*time"),
    ("/a/{labels.}", r"column 4: unknown field"),
    ("/a/{severity}", r"column 4: \{severity\} is of a record, .* `when`"),
    ("/a/{fields.user}", r"column 4: \{fields.user\} is of a record"),
    ("/a/{pod", r"column 4: a single '\{'; write \{\{"),
    ("/a/pod}", r"column 7: a single '\}'"),
    ("/a/{time:%Q}", r"column 4: unknown time code %Q; known are %Y"),
    ("/a/{time:%}", r"column 4: unknown time code %;"),
    ("/a/{time|x}", r"column 4: \{time\} is never empty"),
    ("/a/{labels.app|../x}", r"column 4: the default '../x' cannot stand in a path"),
    ("/a/{pod}/../x", "component"),
    ("/a/{pod}/", "component"),
    ("/a/{pod}//x", "component"),
    ("/a/{time:..}", "component"),
    ("/a/", "component"),
])
def test_a_wrong_template_is_refused_with_its_column_and_the_mend(text, message):
    with pytest.raises(ValueError, match=message):
        compile_template(text, "path")


@pytest.mark.parametrize(("name", "expected"), [
    ("..", "%2E."), (".", "%2E"), ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"), ("", "_"), ("_", "%5F"), ("a\0b", "a%00b"),
    ("a%2Fb", "a%252Fb"), ("caf\udce9", "caf%E9"), ("é", "%C3%A9"), ("a\nb", "a%0Ab"), ("web-0.prod_x", "web-0.prod_x"),
    ("~", "%7E"),
])
def test_a_hostile_name_is_escaped_in_paths(name, expected):
    assert sanitise(name, "path") == expected


def test_headers_and_syslog_fields_hold_no_line_breaks_or_brackets():
    evil = named(pod='a\r\nX: y]"=\\')
    assert render("{pod}", evil, "header") == 'a%0D%0AX: y]"=\\'
    assert render("{pod}", evil, "syslog") == "a%0D%0AX:%20y%5D%22%3D%5C"
    assert render("{pod}", evil, "text") == 'a\r\nX: y]"=\\'


def test_long_names_are_cut_and_stay_different():
    first, second = (render("/a/{pod}.ndjson", named(pod="x" * 300 + end)) for end in ("1", "2"))
    assert first != second
    for path in (first, second):
        assert len(path.rpartition("/")[2]) <= MAX_COMPONENT_BYTES and path.endswith(".ndjson")


def test_a_name_that_imitates_a_cut_one_does_not_meet_it():
    cut = render("/a/{pod}", named(pod="x" * 300)).rpartition("/")[2]
    assert render("/a/{pod}", named(pod=cut)).rpartition("/")[2] != cut


def test_a_template_without_time_is_rendered_once_per_source():
    template, source = compile_template("/a/{pod}", "path"), named()
    assert template.render(batch_of(source)) is template.render(batch_of(source))


FILE_NAMES = st.binary(max_size=12).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
NAMES = st.one_of(st.text(max_size=30), st.text("./\0%_-~a", max_size=8), st.text("x.%", min_size=200, max_size=400), FILE_NAMES,
                  st.text("\ud800\udfff", max_size=3))


@settings(max_examples=300, deadline=None)
@given(NAMES, NAMES)
def test_no_two_names_share_a_path_and_none_leaves_its_directory(one, other):
    paths = [render("/root/{namespace}/{pod}.log", named(namespace=name, pod=name)) for name in (one, other)]
    for path in paths:
        empty, root, directory, file = path.split("/")
        assert (empty, root) == ("", "root") and directory not in ("", ".", "..") and file.endswith(".log")
        assert max(len(directory), len(file)) <= MAX_COMPONENT_BYTES and path.isascii() and path.isprintable()
    assert (paths[0] == paths[1]) == (one == other)


def test_n3_behind_the_longest_component_there_is_room_for_what_a_file_sink_appends():
    """A file system takes names of 255 bytes."""
    assert MAX_COMPONENT_BYTES + len(".20261120T090405Z_999.gz.tmp") <= 255
