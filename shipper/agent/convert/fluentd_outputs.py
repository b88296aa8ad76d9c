"""fluentd's output plug-ins as our sinks. Pure. No secret is copied: it becomes a variable, and that is said."""
from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from .draft import Draft, Item, secret_key
from .fluentd_buffer import buffer
from .fluentd_filters import parse_as
from .syntax import Element, assumed, truth

_NOTES = {"@id": "a name", "@log_level": "see log.level", "include_tag_key": "records have source and pod", "tag_key": "no tags",
          "num_threads": "see concurrency", "time_key": "records have `time`", "reload_connections": "connections are made anew "
                                                                                                     "in time",
          "reconnect_on_error": "always", "reload_on_failure": "always", "suppress_type_name": "no types",
          "type_name": "no types", "log_es_400_reason": "refused records are dead letters, with the reason",
          "request_timeout": "see request_timeout", "enable_monitoring": "/metrics", "monitoring_type": "/metrics"}
_OTHER_FORM = "another name, where fluentd wrote into it: its `log` is text, and our `log.level` is refused there"
_POD = re.compile(r"\$\{(?:record|\$)?(?:\.|\[['\"])?kubernetes(?:['\"]\]\[['\"]|\.)"
                  r"(namespace_name|pod_name|container_name|host|labels(?:['\"]\]\[['\"]|\.)([\w./-]+))(?:['\"]\])?\}")
_OURS = {"namespace_name": "{namespace|none}", "pod_name": "{pod|none}", "container_name": "{container|none}", "host": "{node}"}
MAX_RECORD = "120KiB"       # more than the 100,000 characters of fluentd-gcp; twice as long in JSON it is still an entry
Maker = Callable[[Element, Item, Draft], None]


def sink(element: Element, draft: Draft) -> Item | None:
    """The sink of one <match> or <store>, made once; None where there is none like it, and that was said."""
    from .fluentd_more_outputs import datadog, pubsub, remote_syslog

    kind = element.type
    more: dict[str, tuple[str, Maker]] = {
        "remote_syslog": ("syslog", remote_syslog), "papertrail": ("syslog", remote_syslog), "datadog": ("datadog", datadog),
        "gcloud_pubsub": ("pubsub", pubsub)}
    found = _MAKERS.get(kind) or more.get(kind)
    if found is None:
        draft.refuse(element, f"shipper has no sink for {kind or 'this'}; see docs/sinks for those that there are (forward "
                              "takes records to a fluentd that keeps this output)")
        return None
    ours, maker = found
    item = Item(draft.named(kind.replace("_", "-"), "sink"), ours)
    item.comments.append(f"{element.place} {element.title}")
    item.place = (element.file, element.line, element.title)
    maker(element, item, draft)
    item.set("start_at", "oldest", "a new sink begins with what the buffer holds")
    buffer(element, item, draft)
    for key, why in _NOTES.items():
        draft.note(element, key, why)
    for key in ("format", "inject"):
        if (child := element.child(key)) is not None:
            draft.refuse(child, "the form of a record is the sink's (docs/sinks); its `format` and `merge` choose")
    draft.sinks[item.name] = item
    return item


def feed(item: Item, element: Element, source: Item, tag: str, draft: Draft) -> None:
    """`source`'s records go to the sink, with this tag; detect_json of google_cloud is work for the source."""
    if source.name not in item.fed_by:
        item.fed_by.append(source.name)
    item.tags.setdefault(source.name, []).append(tag)
    if item.type == "cloud_logging" and source.type == "containers":
        source.set("max_record", MAX_RECORD, "a longer one comes in marked pieces: Cloud Logging takes no entry over 256 KiB")
    if item.type == "cloud_logging" and truth(element.take("detect_json")) and (before := parse_as(source, "json")):
        draft.notes.append(f"{element.place} detect_json: messages of source {source.name} stay text; it has {before}")


def secret(element: Element, key: str, draft: Draft, variable: str) -> str | None:
    """As `${X}`: the variable it came from, or one that has to be set."""
    value = element.take(key)
    if not value:
        return None
    if re.fullmatch(r"\$\{\w+(:-[^}]*)?\}", value):
        return value
    draft.problem(element, f"a secret that stands in the config is not copied; set {variable} in the environment", key)
    return f"${{{variable}}}"


def hash_of(text: str, element: Element, key: str, draft: Draft) -> dict[str, str]:
    """fluentd's hash: a JSON object, or k1:v1,k2:v2. {}, and said, where it is neither."""
    try:
        found = json.loads(text)
    except ValueError:
        pairs = [pair.partition(":") for pair in text.split(",")]
        found = {name.strip(): value.strip() for name, _, value in pairs} if all(colon for _, colon, _ in pairs) else None
    if isinstance(found, dict):
        return {str(name): value if isinstance(value, str) else json.dumps(value) for name, value in found.items()}
    draft.problem(element, "is neither a JSON object nor name:value pairs; write {name: value}", key)
    return {}


def _url(text: str, element: Element, key: str, draft: Draft) -> str:
    """Without a name and password in it."""
    plain = re.sub(r"://[^/@\s]*@", "://", text)
    if plain != text:
        draft.problem(element, "a name and password in a URL are not copied; use auth: {user: ..., password_file: ...}", key)
    return plain


def copy_keys(element: Element, item: Item, keys: dict[str, str], to_type: Callable[[str], Any] = str) -> None:
    """Parameters that only have another name here."""
    for theirs, ours in keys.items():
        value = element.take(theirs)
        if value is not None and ours == "credentials_file" and not value.startswith(("/", "$")):
            item.set(ours, "/etc/shipper-secrets/key.json", "a key that stands in the config is not copied: put it there")
        elif value is not None:
            item.set(ours, to_type(value))


def _cloud_logging(element: Element, item: Item, draft: Draft) -> None:
    copy_keys(element, item, {"project_id": "project", "k8s_cluster_name": "cluster_name", "k8s_cluster_location": "location",
                          "vm_id": "instance_id"})
    for key, why in (
        ("use_grpc", "the REST API"), ("split_logs_by_tag", "requests hold what there is"), ("detect_subservice", "not needed"),
        ("adjust_invalid_timestamps", "times are the runtime's"), ("subservice_name", "not needed"), ("zone",
                                                                                                      "of the metadata server"),
        ("use_metadata_service", "used where project, cluster_name and location are not given"), ("enable_metadata_agent",
                                                                                                  "gone"),
        ("autoformat_stackdriver_trace", "traces are given their full name"), ("kubernetes_tag_regexp",
                                                                               "pods are known by their paths"),
        ("coerce_to_utf8", "what is no UTF-8 becomes U+FFFD"), ("partial_success", "always: entries are refused one by one"),
        ("non_utf8_replacement_string", "U+FFFD"), ("metadata_agent_url", "gone"), ("vm_name", "of the metadata server"),
        ("compress_request_data", "not needed"), ("project_id_key", ""),
    ):
        if why:
            draft.note(element, key, why)
    if (labels := element.take("labels")) and (named := hash_of(labels, element, "labels", draft)):
        item.set("labels", named)


def _elasticsearch(element: Element, item: Item, draft: Draft) -> None:
    hosts, scheme = element.take("hosts"), element.take("scheme") or "http"
    host, port = element.take("host") or "localhost", element.take("port") or "9200"
    if hosts:
        host = hosts.split(",")[0].strip()
        if "," in hosts:
            draft.problem(element, "one url: name a load balancer, or one sink a server", "hosts")
    path = (element.take("path") or "").rstrip("/")
    where = host if "://" in host else f"{scheme}://{host if ':' in host else f'{host}:{port}'}{path}"
    item.set("url", _url(where, element, "hosts" if hosts else "host", draft))
    copy_keys(element, item, {"pipeline": "pipeline"})
    user = element.take("user")
    if user:
        item.set("auth", {"user": user, "password": secret(element, "password", draft, "ELASTICSEARCH_PASSWORD") or ""})
    prefix = element.take("logstash_prefix") or "logstash"
    if truth(element.take("logstash_format")):
        date = assumed(element.take("logstash_dateformat") or "%Y.%m.%d")
        draft.note(element, "index_name", "logstash_format names the index")
        separator = element.take("logstash_prefix_separator") or "-"
        item.set("index", f"{template(prefix, element, draft)}{separator}{{time:{date}}}", _OTHER_FORM)
    else:
        item.set("index", template(element.take("index_name") or "fluentd", element, draft), _OTHER_FORM)
    tls: dict[str, Any] = {}
    for theirs, ours in (("ca_file", "ca"), ("client_cert", "cert"), ("client_key", "key")):
        if file := element.take(theirs):
            tls[ours] = file
    if not truth(element.take("ssl_verify"), True):
        tls["verify"] = False
    if tls:
        item.set("tls", tls)
    for key in ("ssl_version", "ssl_min_version", "ssl_max_version"):
        draft.note(element, key, "TLS 1.2 and up")


def _of_the_pod(found: re.Match[str]) -> str:
    return _OURS.get(found[1], "{labels." + str(found[2]) + "|none}")


def template(text: str, element: Element, draft: Draft) -> str:
    """strftime codes as {time:..}, the pod's names as ours; ${tag} and other fields of a record are reported."""
    text = _POD.sub(_of_the_pod, text)
    if "${" in re.sub(r"\$\{[A-Z_][A-Z0-9_]*(:-[^}]*)?\}", "", text):
        draft.problem(element, f"{text}: placeholders of tags and fields; ours are {{namespace}}, {{pod}}, {{container}}, "
                               f"{{labels.x}}, "
                               "{time:%Y}. It is written without them")
        text = re.sub(r"\$\{(?![A-Z_][A-Z0-9_]*[:}])[^}]*\}", "x", text)
    return re.sub(r"(?:%[A-Za-z](?:[./_-]?(?=%))?)+", lambda found: f"{{time:{found[0]}}}", text)


def _splunk(element: Element, item: Item, draft: Draft) -> None:
    scheme = element.take("protocol") or ("https" if truth(element.take("use_ssl"), True) else "http")
    host = element.take("hec_host") or element.take("host") or "localhost"
    port = element.take("hec_port") or element.take("port") or "8088"
    item.set("url", _url(element.take("full_url") or f"{scheme}://{host}:{port}", element, "full_url", draft))
    for key in ("hec_token", "token"):
        if (value := secret(element, key, draft, "SPLUNK_HEC_TOKEN")) is not None:
            item.set("token", value)
    copy_keys(element, item, {"index": "index", "source": "source", "sourcetype": "sourcetype"}, lambda v: template(v, element,
                                                                                                                 draft))
    if truth(element.take("insecure_ssl")):
        item.set("tls", {"verify": False})


def _loki(element: Element, item: Item, draft: Draft) -> None:
    item.set("url", _url(element.take("url") or "http://localhost:3100", element, "url", draft))
    copy_keys(element, item, {"tenant": "tenant"}, lambda value: template(value, element, draft))
    if user := element.take("username"):
        item.set("auth", {"user": user, "password": secret(element, "password", draft, "LOKI_PASSWORD") or ""})
    if labels := element.take("extra_labels"):
        found = {k: template(v, element, draft) for k, v in hash_of(labels, element, "extra_labels", draft).items()}
        item.set("labels", found | {"namespace": "{namespace|host}"})
    for child in [c for c in element.children if c.name == "label"]:
        for name in list(child.params):
            ours = _POD.sub(_of_the_pod, f"${{{child.params[name].value}}}")
            if "${" in ours:
                draft.problem(child, "labels from fields of a record are not made (each value would be a stream); see labels: in "
                                     "docs/sinks/loki.md", name)
            else:
                child.taken.add(name)
                item.set("labels", item.keys.get("labels", {}) | {name: ours})
        child.taken.add("")
    for key in ("line_format", "extract_kubernetes_labels", "remove_keys", "drop_single_key"):
        draft.note(element, key, "the line is the message; all else is structured metadata")


def _http(element: Element, item: Item, draft: Draft) -> None:
    key = "endpoint" if "endpoint" in element.params else "endpoint_url"
    item.set("url", _url(element.take(key) or "", element, key, draft))
    if (verb := element.params.get("http_method")) is None or verb.value.lower() == "post":
        draft.note(element, "http_method", "POST")
    if truth(element.take("json_array")):
        item.set("format", "json")
    if headers := element.take("headers"):
        found = hash_of(headers, element, "headers", draft)
        for name in [n for n in found if secret_key(n)]:
            draft.problem(element, f"the header {name} is a secret and not copied; use auth:", "headers")
            del found[name]
        if found:
            item.set("headers", found)
    draft.note(element, "content_type", "by format")
    if auth := element.child("auth"):
        if (method := auth.take("method")) not in (None, "basic"):
            draft.problem(auth, f"{method} is not there; user and password are sent as basic", "method")
        draft.note(auth, "method", "basic")
        item.set("auth", {"user": auth.take("username") or "", "password": secret(auth, "password", draft,
                                                                                  "HTTP_PASSWORD") or ""})


def _forward(element: Element, item: Item, draft: Draft) -> None:
    servers = [c for c in element.children if c.name == "server"]
    for number, server in enumerate(servers):
        if number:
            draft.refuse(server, "one address a sink; name a load balancer, or make a sink of each server")
            continue
        item.set("address", f"{server.take('host') or 'localhost'}:{server.take('port') or '24224'}")
        for key in ("name", "weight"):
            draft.note(server, key, "one server")
    item.keys.setdefault("address", f"{element.take('host') or 'localhost'}:{element.take('port') or '24224'}")
    if element.take("transport") == "tls":
        item.set("protocol", "tls")
        if ca := element.take("tls_cert_path") or element.take("tls_ca_cert_path"):
            item.set("tls", {"ca": ca})
    if (security := element.child("security")) is not None:
        draft.note(security, "self_hostname", "the node's name")
        if (shared := secret(security, "shared_key", draft, "FORWARD_SHARED_KEY")) is not None:
            item.set("shared_key", shared)
    draft.note(element, "require_ack_response", "always, unless require_ack: false")
    for key in ("heartbeat_type", "heartbeat_interval", "recover_wait", "hard_timeout", "send_timeout", "phi_threshold",
                "phi_failure_detector", "keepalive", "keepalive_timeout", "expire_dns_cache", "dns_round_robin",
                "ack_response_timeout"):
        draft.note(element, key, "acknowledgements tell whether the receiver lives")


def _file(element: Element, item: Item, draft: Draft) -> None:
    path = element.take("path") or "/var/log/shipper-out"
    path = template(path, element, draft)
    item.set("path", path if path.endswith((".log", ".ndjson", ".json")) else f"{path}.ndjson")
    for key in ("append", "symlink_path", "add_path_suffix", "path_suffix"):
        draft.note(element, key, "rotation is the sink's: rotate: {max_size: ..., keep: ...}")
    if (compress := element.take("compress")) in ("gz", "gzip"):
        item.set("rotate", {"max_size": "64MiB", "compress": "gzip"}, f"compress {compress}")


def _gcs(element: Element, item: Item, draft: Draft) -> None:
    copy_keys(element, item, {"bucket": "bucket", "project": "project", "keyfile": "credentials_file",
                          "credentials_json_file": "credentials_file"})
    prefix = (element.take("path") or "").strip("/")
    if prefix:
        times = "" if "%" in prefix else "/{yyyy}/{mm}/{dd}/{hh}"
        item.set("prefix", f"{template(prefix, element, draft)}{times}")
    if kept := element.take("storage_class"):
        item.set("storage_class", kept.upper())
    draft.note(element, "object_key_format", "names are the sink's, so that each record is in exactly one object "
                                             "(docs/sinks/gcs.md)")
    store = element.take("store_as")
    if store and store != "gzip":
        item.set("compression", "none")
    for key in ("hex_random_length", "auto_create_bucket", "transcoding", "overwrite", "acl", "blind_write"):
        draft.note(element, key, "objects are created, never overwritten; the bucket has to be there")


def _bigquery(element: Element, item: Item, draft: Draft) -> None:
    copy_keys(element, item, {"project": "project", "dataset": "dataset", "json_key": "credentials_file"})
    if table := element.take("table"):
        item.set("table", re.sub(r"[_$]?(?:%|\$\{(?![A-Z_][A-Z0-9_]*[:}])).*", "", table) or "logs")
        if item.keys["table"] != table:
            draft.problem(element, "one table a sink, whose name does not vary; tables that create_table makes are partitioned "
                                   "by time", "table")
    for key in ("auth_method", "fetch_schema", "schema_path", "insert_id_field", "auto_create_table", "ignore_unknown_values"):
        draft.note(element, key, "see schema, create_table and method in docs/sinks/bigquery.md")


def _nothing(element: Element, item: Item, draft: Draft) -> None:
    return


_MAKERS: dict[str, tuple[str, Maker]] = {
    "google_cloud": ("cloud_logging", _cloud_logging), "elasticsearch": ("elasticsearch", _elasticsearch),
    "elasticsearch_dynamic": ("elasticsearch", _elasticsearch), "opensearch": ("elasticsearch", _elasticsearch),
    "splunk_hec": ("splunk_hec", _splunk), "splunk-http-eventcollector": ("splunk_hec", _splunk), "loki": ("loki", _loki),
    "http": ("http", _http), "forward": ("forward", _forward), "secure_forward": ("forward", _forward), "file": ("file", _file),
    "stdout": ("stdout", _nothing), "gcs": ("gcs", _gcs), "bigquery_insert": ("bigquery", _bigquery),
    "bigquery_load": ("bigquery", _bigquery), "bigquery": ("bigquery", _bigquery),
}
