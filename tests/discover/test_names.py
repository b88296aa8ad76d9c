"""What file names say (N1 to N4 in shipper/discover/names.py)."""
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.discover.names import Names, clean, lineage_name, names_of, source_of

ID = "0123456789abcdef" * 4
UID = "8d3c1b7e-0000-4000-8000-1234567890ab"
STATIC_UID = "c0ffee00" * 4
LINK = f"/var/log/containers/web-0_prod_app-{ID}.log"


@pytest.mark.parametrize(("hops", "names"), [
    ([LINK], Names("prod", "web-0", "", "app", ID)),
    ([LINK, f"/var/log/pods/prod_web-0_{UID}/app/3.log"], Names("prod", "web-0", UID, "app", ID, 3)),
    ([f"/var/log/pods/prod_web-0_{UID}/app/0.log"], Names("prod", "web-0", UID, "app", "", 0)),
    ([f"/var/log/pods/kube-system_etcd-n1_{STATIC_UID}/etcd/9.log"], Names("kube-system", "etcd-n1", STATIC_UID, "etcd", "", 9)),
    ([f"/mnt/log/pods/prod_web-0_{UID}/app/0.log"], Names("prod", "web-0", UID, "app")),
    ([LINK, f"/var/log/pods/{UID}/app/2.log"], Names("prod", "web-0", UID, "app", ID, 2)),
    ([LINK, f"/var/log/pods/{UID}/app_2.log"], Names("prod", "web-0", UID, "app", ID, 2)),
    ([f"/var/log/pods/{UID}/my_app_7.log"], Names("", "", UID, "my_app", "", 7)),
    ([f"/var/lib/docker/containers/{ID}/{ID}-json.log"], Names(container_id=ID)),
    ([LINK, f"/var/lib/docker/containers/{'b' * 64}/{ID}-json.log"], Names("prod", "web-0", "", "app", ID)),
    ([f"/var/log/containers/web.v1_default_app-{ID}.log"], Names("default", "web.v1", "", "app", ID)),
    ([f"/var/log/containers/web_default_side-car-{ID}.log"], Names("default", "web", "", "side-car", ID)),
    (["/var/log/containers/nohyphen.log"], Names()),
    (["/var/log/containers/web_default_app.log"], Names("default", "web", "", "app")),
    (["/var/log/syslog"], Names()),
    (["0.log"], Names()),
    ([""], Names()),
    (["/"], Names()),
    ([], Names()),
])
def test_each_layout_says_what_it_can(hops, names):
    assert names_of(hops) == names


def test_a_chain_over_docker_takes_the_uid_from_the_pods_hop_and_the_id_from_the_docker_hop():
    cut_link = f"/var/log/containers/{'p' * 230}_prod_{'c' * 14}_.log"
    hops = [cut_link, f"/var/log/pods/prod_web-0_{UID}/app/1.log", f"/var/lib/docker/containers/{ID}/{ID}-json.log"]
    assert names_of(hops) == Names("prod", "web-0", UID, "app", ID, 1)


def test_a_name_that_kubelet_cut_does_not_say_which_container_it_is():
    whole = f"{'p' * 200}_prod_{'c' * 30}-{ID}"
    link = f"/var/log/containers/{whole[:251]}.log"
    assert len(os.path.basename(link)) == 255
    assert names_of([link]) == Names("prod", "p" * 200)
    target = f"/var/log/pods/prod_{'p' * 200}_{UID}/{'c' * 30}/4.log"
    assert names_of([link, target]) == Names("prod", "p" * 200, UID, "c" * 30, "", 4)


def test_the_directory_that_kubelet_made_is_believed_over_the_name_of_a_link():
    hops = [f"/var/log/containers/bank_payments_app-{ID}.log", f"/var/log/pods/guests_evil_{UID}/sh/0.log"]
    assert names_of(hops) == Names("guests", "evil", UID, "sh", ID)


@pytest.mark.parametrize("number", ["0" * 10, "9" * 240, "\u0663", "-1", "1e3"])
def test_a_restart_count_that_is_none_is_zero(number):
    assert names_of([f"/var/log/pods/a_b_{UID}/c/{number}.log"]).restart == 0


@pytest.mark.parametrize("raw", [
    b"/var/log/containers/evil\npod_ns_c-" + ID.encode() + b".log",
    b"/var/log/containers/\xff\xfe_n\xc3_\x80-" + ID.encode() + b".log",
    b"/var/log/containers/.._.._..-" + ID.encode() + b".log",
    b"/var/log/containers/" + b"_" * 251 + b".log",
    b"/var/log/containers/" + b"\xf0\x9f\x98" * 85,
    b"/var/log/pods/" + b"\xed\xa0\x80_a_b" + b"/ /0.log",
    b"/var/log/pods/../../0.log",
])
def test_a_hostile_name_becomes_clean_utf8(raw):
    path = os.fsdecode(raw)
    source = source_of("containers", "c", "n1", [path], path)
    text = json.dumps(source.to_json(), ensure_ascii=False)
    assert json.loads(text.encode())["lineage"] == source.lineage


def test_undecodable_bytes_become_replacement_characters_and_the_rest_stays():
    path = os.fsdecode(b"/var/log/containers/w\xffb_n\ns_c c-" + ID.encode() + b".log")
    assert names_of([path]) == Names("n\ns", "w\ufffdb", "", "c c", ID)


def test_two_paths_that_look_alike_once_cleaned_are_two_lineages():
    one, two = os.fsdecode(b"/var/log/a\xff"), os.fsdecode(b"/var/log/a\xfe")
    assert clean(one) == clean(two)
    assert lineage_name(one) != lineage_name(two)
    assert lineage_name("/var/log/pods/x/0.log") == "/var/log/pods/x/0.log"


def test_a_host_file_has_no_names_whatever_its_name_looks_like():
    source = source_of("files", "host", "n1", [LINK], LINK)
    assert (source.namespace, source.pod, source.path, source.node) == ("", "", LINK, "n1")


@given(st.lists(st.binary(max_size=300).map(os.fsdecode), max_size=4), st.sampled_from(["containers", "files"]))
def test_no_name_raises_and_all_that_comes_out_is_utf8(hops, kind):
    hops = hops or [""]
    source = source_of(kind, "s", "n", hops, hops[-1])
    json.dumps(source.to_json(), ensure_ascii=False).encode()
    assert 0 <= source.restart < 10**9


PIECE = st.text(alphabet="ab_-.0\n\udcff", max_size=8)


@given(PIECE, PIECE, PIECE, PIECE, st.integers(0, 10**12))
def test_names_that_nearly_look_right_do_not_raise_either(pod, namespace, container, uid, number):
    hops = [f"/l/{pod}_{namespace}_{container}-{ID}.log", f"/p/{namespace}_{pod}_{uid}/{container}/{number}.log"]
    for value in names_of(hops):
        str(value).encode()
