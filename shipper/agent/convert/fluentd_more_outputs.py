"""fluentd's output plug-ins for syslog, Datadog and Pub/Sub as our sinks. Pure."""
from __future__ import annotations

from .draft import Draft, Item
from .fluentd_outputs import copy_keys, secret, template
from .syntax import Element, truth


def remote_syslog(element: Element, item: Item, draft: Draft) -> None:
    """remote_syslog and papertrail, which is the same over TLS."""
    papertrail = element.type == "papertrail"
    host = element.take("papertrail_host" if papertrail else "host") or "localhost"
    port = element.take("papertrail_port" if papertrail else "port") or "514"
    item.set("address", f"{host}:{port}")
    over_tls = papertrail or truth(element.take("tls"))
    protocol = element.take("protocol") or ("tcp" if papertrail else "udp")
    item.set("protocol", "tls" if over_tls else protocol)
    item.set("format", "rfc5424" if papertrail or (element.take("rfc") or "").endswith("5424") else "rfc3164")
    if item.keys["protocol"] != "udp":
        item.set("framing", "newline", "as it was")
    files = {ours: path for theirs, ours in (("ca_file", "ca"), ("client_cert", "cert"), ("client_key", "key"))
             if (path := element.take(theirs))}
    if files and over_tls:
        item.set("tls", files)
    if facility := element.take("facility"):
        item.set("facility", facility)
    if severity := element.take("severity"):
        item.set("severity", {"": severity, "stdout": severity, "stderr": severity}, "one for all, where a line says none")
    if (size := element.take("packet_size")) and size.isdigit() and int(size) >= 1024:
        item.set("max_message", int(size), "a longer one comes in marked parts")
    if element.params.get("program") is not None:
        draft.problem(element, "APP-NAME is the container's name, or the file's; see what asks for the other", "program")
    for key in ("hostname", "default_hostname"):
        draft.note(element, key, "HOSTNAME is the node")
    for key in ("timeout", "timeout_exception", "keep_alive", "keep_alive_cnt", "keep_alive_idle", "keep_alive_intvl",
                "discard_unannotated_pod_logs", "default_level", "default_program", "verify_mode"):
        draft.note(element, key, "see docs/sinks/syslog.md")


def datadog(element: Element, item: Item, draft: Draft) -> None:
    host = element.take("host") or "http-intake.logs.datadoghq.com"
    item.set("url", host if "://" in host else f"https://{host}")
    item.set("api_key", secret(element, "api_key", draft, "DD_API_KEY") or "${DD_API_KEY}")
    copy_keys(element, item, {"service": "service", "dd_source": "source"}, lambda value: template(value, element, draft))
    if tags := element.take("dd_tags"):
        pairs = [pair.partition(":") for pair in tags.strip("'\" ").split(",")]
        item.set("tags", {name.strip(): template(value.strip(), element, draft) for name, _, value in pairs if name.strip()})
    for key in ("use_json", "use_http", "use_ssl", "ssl_port", "port", "use_compression", "compression_level", "max_retries",
                "max_backoff", "no_ssl_validation", "timestamp_key", "http_proxy"):
        draft.note(element, key, "see docs/sinks/datadog.md")


def pubsub(element: Element, item: Item, draft: Draft) -> None:
    copy_keys(element, item, {"topic": "topic", "project": "project", "key": "credentials_file"})
    for key in ("autocreate_topic", "max_messages", "max_total_size", "max_message_size", "compress_batches",
                "try_flush_interval", "format", "endpoint", "emulator_host"):
        draft.note(element, key, "the topic has to be there; limits are Pub/Sub's own (docs/sinks/pubsub.md)")
