"""Keys in headers of their own: sent, read again, never said. For the sinks that have them."""
import pytest

from shipper.errors import ShipperError
from shipper.model import Request
from shipper.sinks import SinkContext
from shipper.sinks._http_key import base_url
from shipper.telemetry import Telemetry
from tests.support.bad_http import BadServer, Reply, Seen

from .http_world import entry_of
from .syslog_kit import batch

KEY = "k3y-that-nobody-may-read"


class Echo:
    """A server that says what it was told, as debugging proxies do."""

    def __init__(self, status: int) -> None:
        self.status = status

    def records(self, seen: Seen) -> list[bytes]:
        return []

    def taken(self, seen: Seen, records: list[bytes]) -> Reply:
        said = ", ".join(f"{name}={value}" for name, value in seen.headers.items())
        assert KEY in said
        return Reply(self.status, said.encode())


@pytest.mark.parametrize("status", [200, 400, 403, 500])
@pytest.mark.parametrize("given", ["config", "file"])
@pytest.mark.parametrize(("type_name", "key"), [("elasticsearch", "api_key"), ("datadog", "api_key"), ("splunk_hec", "token")])
async def test_a_server_that_says_the_key_puts_it_into_no_error(type_name, key, given, status, tmp_path):
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    keys = f"{key}: {KEY}" if given == "config" else f"{key}_file: {path}"
    async with BadServer(Echo(status)) as server:
        entry = entry_of(f"type: {type_name}, url: 'http://127.0.0.1:{server.port}', proxy: none, {keys}")
        sink = entry.spec.build(entry.config, SinkContext("far", "n1", "", Telemetry()))
        batches = [batch([b"m"])]
        try:
            await sink.send(Request(1, batches), sink.encode(batches))
        except ShipperError as error:
            assert KEY not in str(error) and "answered" in str(error)
            assert KEY not in str(getattr(error, "dead", ""))
        else:
            assert (type_name, status) == ("datadog", 200)
        await sink.close()
        assert server.wrong == [] and len(server.seen) == 1


@pytest.mark.parametrize(("url", "made"), [
    ("http://far", "http://far/x/y"), ("http://far/", "http://far/x/y"), ("http://far/base", "http://far/base/x/y"),
    ("http://far/x/y", "http://far/x/y"), ("http://far/x/y/", "http://far/x/y"), ("http://far?a=b/x/y", "http://far/x/y?a=b/x/y"),
])
def test_the_path_is_put_at_the_end_once(url, made):
    assert base_url(url, "/x/y") == made
