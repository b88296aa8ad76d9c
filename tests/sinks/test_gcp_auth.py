"""Who we say we are at Google: tokens of every kind, the key file that is none, the metadata server, endpoints."""
from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from shipper.agent.check_command import run_check
from shipper.errors import Retryable
from shipper.model import Request
from shipper.sinks import SinkContext, _gcp_config, _gcp_key
from shipper.sinks._gcp_auth import Anonymous, GcpCredentials, credentials
from shipper.sinks._gcp_config import GcpConfig
from shipper.sinks._gcp_identity import Identity
from shipper.telemetry import Telemetry
from tests.support.gcp_identity_fakes import IdentityServer

from .http_world import entry_of
from .syslog_kit import batch


class Now:
    def __init__(self) -> None:
        self.s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.s


@pytest.fixture
async def google() -> AsyncIterator[IdentityServer]:
    async with IdentityServer(now_s=Now()) as server:
        yield server
        assert server.wrong == []


class Held:
    """One service's credentials against the fakes."""

    def __init__(self, google: IdentityServer, file: Path | None = None, **environ: str) -> None:
        self.telemetry, self.google = Telemetry(), google
        config = GcpConfig(credentials_file=None if file is None else str(file))
        self.inner = GcpCredentials(
            config, "storage", self.telemetry, {"GCE_METADATA_HOST": google.host, "HOME": "/nonexistent", **environ},
            google.now_s)

    async def token(self) -> str:
        found = (await self.inner.headers())["Authorization"]
        assert found.startswith("Bearer ")
        return found.removeprefix("Bearer ")

    async def __aenter__(self) -> Held:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.inner.close()


# ------------------------------------------------------------ each kind


async def test_the_metadata_server_gives_a_token_which_is_used_until_it_is_nearly_over(google: IdentityServer) -> None:
    async with Held(google) as held:
        token = await held.token()
        assert google.valid(token) and token.startswith("ya29.metadata")
        assert await held.token() == token
        assert google.asked == ["instance/service-accounts/default/token"]
        assert token not in held.telemetry.scrub(f"a server quotes {token}")


async def test_a_service_accounts_key_signs_for_its_token(google: IdentityServer, tmp_path: Path) -> None:
    async with Held(google, google.key_file(tmp_path)) as held:
        assert (await held.token()).startswith("ya29.key")
        assert google.asked == ["token"]


async def test_a_key_named_by_the_environment_is_taken_before_the_metadata_server(google: IdentityServer, tmp_path: Path) -> None:
    async with Held(google, GOOGLE_APPLICATION_CREDENTIALS=str(google.key_file(tmp_path))) as held:
        assert (await held.token()).startswith("ya29.key")


async def test_a_federated_workload_exchanges_its_token_at_sts(google: IdentityServer, tmp_path: Path) -> None:
    async with Held(google, google.federation_file(tmp_path)) as held:
        assert (await held.token()).startswith("ya29.federated")
        assert google.asked == ["sts"]


async def test_a_federated_workload_impersonates_its_service_account(google: IdentityServer, tmp_path: Path) -> None:
    async with Held(google, google.federation_file(tmp_path, impersonate=True)) as held:
        assert (await held.token()).startswith("ya29.impersonated")
        assert google.asked == ["sts", "impersonate"]


async def test_a_federated_workload_may_ask_for_its_subject_token_at_a_url(google: IdentityServer, tmp_path: Path) -> None:
    source = {"url": f"http://{google.host}/subject", "headers": {"Metadata": "True"},
              "format": {"type": "json", "subject_token_field_name": "access_token"}}
    async with Held(google, google.federation_file(tmp_path, source=source)) as held:
        assert (await held.token()).startswith("ya29.federated")
        assert google.asked == ["subject", "sts"]


async def test_a_persons_login_is_refreshed(google: IdentityServer, tmp_path: Path) -> None:
    async with Held(google, google.user_file(tmp_path)) as held:
        assert (await held.token()).startswith("ya29.user") and google.asked == ["token"]
        assert "X-Goog-User-Project" not in await held.inner.headers()
        for secret in ("user-secret", "1//refresh"):
            assert secret not in held.telemetry.scrub(f"a server quotes {secret}")


async def test_the_quota_project_of_a_login_is_named_in_each_request(google: IdentityServer, tmp_path: Path) -> None:
    async with Held(google, google.user_file(tmp_path, quota_project_id="p-quota")) as held:
        assert (await held.inner.headers())["X-Goog-User-Project"] == "p-quota"


async def test_a_login_impersonates_a_service_account_through_its_delegates(google: IdentityServer, tmp_path: Path) -> None:
    path = google.user_file(tmp_path, impersonate=True, delegates=["projects/-/serviceAccounts/b@p1"])
    assert _gcp_config.problems(GcpConfig(credentials_file=str(path)), "storage", {}) == []
    async with Held(google, path) as held:
        assert (await held.token()).startswith("ya29.impersonated")
        for secret in ("user-secret", "1//refresh"):
            assert secret not in held.telemetry.scrub(f"a server quotes {secret}")
        assert google.asked == ["token", "impersonate"] and google.delegates == ["projects/-/serviceAccounts/b@p1"]


async def test_who_may_not_impersonate_is_told_which_role_is_missing(google: IdentityServer, tmp_path: Path) -> None:
    async with Held(google, google.federation_file(tmp_path, impersonate=True)) as held:
        google.impersonation_status = 403
        with pytest.raises(Retryable, match=r"answered 403 when asked to act as shipper@p1.*roles/iam\.workloadIdentityUser"):
            await held.token()


async def test_a_rotated_subject_token_is_read_again(google: IdentityServer, tmp_path: Path) -> None:
    async with Held(google, google.federation_file(tmp_path)) as held:
        first = await held.token()
        google.subject_token = "subject-2"
        (tmp_path / "subject").write_text("subject-2")
        google.now_s.s += 3599.0        # type: ignore[attr-defined]
        assert await held.token() != first


# ------------------------------------------------------------ renewing


async def test_a_token_is_renewed_beside_the_requests_before_it_expires(google: IdentityServer) -> None:
    async with Held(google) as held:
        first = await held.token()
        google.now_s.s += 3600.0 - 200.0        # type: ignore[attr-defined]
        assert await held.token() == first, "the old one is still good: nobody waits"
        while held.inner._renewing is not None:
            await held.inner._renewing
        assert await held.token() != first


async def test_a_token_service_that_is_down_does_not_spoil_a_token_that_is_still_good(google: IdentityServer) -> None:
    async with Held(google) as held:
        first = await held.token()
        google.broken = 503
        google.now_s.s += 3600.0 - 200.0        # type: ignore[attr-defined]
        for _ in range(5):
            assert await held.token() == first
        while held.inner._renewing is not None:
            await _quietly(held.inner._renewing)
        assert google.asked.count("instance/service-accounts/default/token") == 2, "not asked at every request"
        google.now_s.s += 195.0                 # type: ignore[attr-defined]
        with pytest.raises(Retryable, match="answered 503"):
            await held.token()


async def test_a_token_service_that_is_down_is_asked_each_ten_seconds_and_not_at_every_request(google: IdentityServer) -> None:
    """A failed answer leaves nothing under way: the next request would ask again at once."""
    async with Held(google) as held:
        first = await held.token()
        google.broken = 503
        google.now_s.s += 3600.0 - 200.0        # type: ignore[attr-defined]
        for _ in range(5):
            assert await held.token() == first
            while held.inner._renewing is not None:
                await _quietly(held.inner._renewing)
        assert len(google.asked) == 2
        google.now_s.s += 10.5                  # type: ignore[attr-defined]
        assert await held.token() == first and held.inner._renewing is not None


async def test_a_token_of_a_minute_or_so_is_not_asked_for_anew_before_its_last_quarter(google: IdentityServer) -> None:
    """A proxy in front of the metadata server gives such (fluent/fluent-bit#8233)."""
    google.life_s = 80
    async with Held(google) as held:
        first = await held.token()
        for later_s, asked in ((30.0, 1), (28.0, 1), (1.5, 1), (1.0, 2)):
            google.now_s.s += later_s           # type: ignore[attr-defined]
            assert await held.token() == first
            while held.inner._renewing is not None:
                await held.inner._renewing
            assert len(google.asked) == asked


async def test_a_request_that_is_called_off_does_not_take_the_token_from_those_that_wait_for_it(google: IdentityServer) -> None:
    async with Held(google) as held:
        waiting = [asyncio.create_task(held.token()) for _ in range(3)]
        while held.inner._renewing is None:
            await asyncio.sleep(0)
        waiting[0].cancel()
        assert len(set(await asyncio.gather(*waiting[1:]))) == 1 and waiting[0].cancelled()


async def test_a_refused_token_is_asked_for_anew_once_and_not_at_every_401(google: IdentityServer) -> None:
    async with Held(google) as held:
        first = await held.token()
        google.revoke()
        held.inner.refused()
        second = await held.token()
        assert second != first and google.valid(second)
        for _ in range(5):
            held.inner.refused()
            assert await held.token() == second
        assert google.asked.count("instance/service-accounts/default/token") == 2, "no storm"
        google.now_s.s += 31.0                  # type: ignore[attr-defined]
        asked = len(google.asked)
        held.inner.refused()
        await held.token()
        assert len(google.asked) == asked + 1


async def test_many_requests_at_once_ask_for_one_token(google: IdentityServer) -> None:
    async with Held(google) as held:
        tokens = await asyncio.gather(*(held.token() for _ in range(20)))
        assert len(set(tokens)) == 1 and len(google.asked) == 1


async def test_old_tokens_are_not_kept_as_secrets_for_ever(google: IdentityServer) -> None:
    async with Held(google) as held:
        for _ in range(10):
            await held.token()
            google.now_s.s += 3600.0            # type: ignore[attr-defined]
        assert len(held.telemetry._secrets) <= 2


async def _quietly(task: Any) -> None:
    await asyncio.gather(task, return_exceptions=True)


# ------------------------------------------------------------ a file that is none


BAD_FILES = {
    "not JSON": ("hello", "is not JSON"),
    "empty": ("", "is empty"),
    "a list": ("[]", "holds no credentials"),
    "no type": ("{}", "has no `type`"),
    "another type": ('{"type": "gdch_service_account"}', "gdch_service_account"),
    "half a key": ('{"type": "service_account", "client_email": "a@b"}', "private_key, token_uri missing"),
    "a broken key": (json.dumps({"type": "service_account", "client_email": "a@b", "token_uri": "https://t/t",
                                 "private_key": "-----BEGIN PRIVATE KEY-----SECRETSECRET"}), "no RSA key in PEM"),
    "a token_uri over plain http": (json.dumps({"type": "service_account", "client_email": "a@b", "private_key": "x",
                                                "token_uri": "http://evil.example.com/t"}), "not https"),
    "impersonation from no login": (json.dumps({
        "type": "impersonated_service_account", "service_account_impersonation_url": "https://i/x:generateAccessToken",
        "source_credentials": {"type": "service_account", "private_key": "SECRET"}}), "not authorized_user"),
    "impersonation from half a login": (json.dumps({
        "type": "impersonated_service_account", "service_account_impersonation_url": "https://i/x:generateAccessToken",
        "source_credentials": {"type": "authorized_user", "client_secret": "SECRET"}}), "client_id, refresh_token missing"),
    "a workforce login": ('{"type": "external_account_authorized_user"}', "external_account_authorized_user"),
    "AWS": (json.dumps({"type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "https://t/t",
                        "credential_source": {"environment_id": "aws1"}}), "AWS"),
    "a subject token in JSON": (json.dumps({
        "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "https://t/t",
        "credential_source": {"file": "/x", "format": {"type": "json", "subject_token_field_name": "t"}}}), "whose file is JSON"),
    "a certificate": (json.dumps({
        "type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "https://t/t",
        "credential_source": {"certificate": {"use_default_certificate_config": True}}}), "neither file nor url"),
    "a program": (json.dumps({"type": "external_account", "audience": "a", "subject_token_type": "t", "token_url": "https://t/t",
                              "credential_source": {"executable": {"command": "x"}}}), "runs a program"),
}


@pytest.mark.parametrize("name", BAD_FILES)
async def test_a_credentials_file_that_is_none_is_refused_and_the_metadata_server_not_asked(
    google: IdentityServer, tmp_path: Path, name: str,
) -> None:
    content, words = BAD_FILES[name]
    path = tmp_path / "key.json"
    path.write_text(content)
    [(key, text)] = _gcp_config.problems(GcpConfig(credentials_file=str(path)), "storage", {})
    assert key == "credentials_file" and str(path) in text and words in text and "SECRET" not in text
    [(key, text)] = _gcp_config.problems(GcpConfig(), "storage", {"GOOGLE_APPLICATION_CREDENTIALS": str(path)})
    assert key == "" and str(path) in text and "GOOGLE_APPLICATION_CREDENTIALS" in text and words in text
    async with Held(google, path) as held:
        with pytest.raises(Retryable, match="no token") as raised:
            await held.token()
        assert str(path) in str(raised.value) and google.asked == []


def test_gclouds_own_file_is_checked_too_and_a_missing_named_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "application_default_credentials.json").write_text("{")
    [(_, text)] = _gcp_config.problems(GcpConfig(), "storage", {"CLOUDSDK_CONFIG": str(tmp_path)})
    assert "application_default_credentials.json" in text
    [(_, text)] = _gcp_config.problems(GcpConfig(credentials_file="/nonexistent/key.json"), "storage", {})
    assert "/nonexistent/key.json cannot be read" in text


async def test_a_key_named_by_the_environment_that_is_not_there_is_not_replaced_by_the_metadata_servers_account(
    google: IdentityServer, tmp_path: Path,
) -> None:
    """GK1: a Secret that was not mounted would let the node's own account write where it may."""
    environ = {"GOOGLE_APPLICATION_CREDENTIALS": str(tmp_path / "missing.json")}
    [(_, text)] = _gcp_config.problems(GcpConfig(), "storage", environ)
    assert "missing.json (named by GOOGLE_APPLICATION_CREDENTIALS) cannot be read" in text
    async with Held(google, **environ) as held:
        with pytest.raises(Retryable, match=r"missing\.json"):
            await held.token()
        assert google.asked == []


async def test_credentials_of_another_cloud_do_not_go_to_googles_endpoints(google: IdentityServer, tmp_path: Path) -> None:
    """universe_domain: a sovereign cloud."""
    path = google.key_file(tmp_path, universe_domain="cloud.example.fr")
    for config, environ in ((GcpConfig(credentials_file=str(path)), {}),
                            (GcpConfig(), {"HOME": "/x", "GOOGLE_CLOUD_UNIVERSE_DOMAIN": "cloud.example.fr"})):
        [(key, text)] = _gcp_config.problems(config, "logging", environ)
        assert key == "endpoint" and "set endpoint: https://logging.cloud.example.fr" in text
    own = GcpConfig(credentials_file=str(path), endpoint="https://logging.cloud.example.fr")
    assert _gcp_config.problems(own, "logging", {}) == []
    assert _gcp_config.problems(GcpConfig(credentials_file=str(google.key_file(tmp_path, universe_domain="googleapis.com"))),
                                "logging", {}) == []


def test_without_any_file_the_metadata_server_it_is() -> None:
    assert _gcp_key.find(None, {"HOME": "/nonexistent"}) is None
    assert _gcp_config.problems(GcpConfig(), "storage", {"HOME": "/nonexistent"}) == []


async def test_what_a_token_service_says_is_told_without_secrets(google: IdentityServer, tmp_path: Path) -> None:
    async with Held(google, google.key_file(tmp_path, client_email="other@p1.iam.gserviceaccount.com")) as held:
        with pytest.raises(Retryable, match=r"answered 400 \(invalid_grant\)") as raised:
            await held.token()
        assert "assertion" not in str(raised.value) and "BEGIN" not in str(raised.value)


# ------------------------------------------------------------ identity and endpoints


async def test_project_cluster_location_and_instance_come_from_the_metadata_server(google: IdentityServer) -> None:
    who = Identity(GcpConfig(), {"GCE_METADATA_HOST": google.host, "HOME": "/nonexistent"})
    assert (await who.project(), await who.cluster_name(), await who.location(), await who.instance_id(), await who.zone()) == (
        "p1", "c1", "europe-west1", "4242", "europe-west1-b")
    asked = len(google.asked)
    await who.project()
    assert len(google.asked) == asked


async def test_each_of_them_can_be_said_in_the_config_and_then_nobody_is_asked(google: IdentityServer) -> None:
    config = GcpConfig(project="p9", cluster_name="c9", location="l9", instance_id="9")
    who = Identity(config, {"GCE_METADATA_HOST": google.host})
    found = await who.project(), await who.cluster_name(), await who.location(), await who.instance_id()
    assert found == ("p9", "c9", "l9", "9")
    assert google.asked == []


async def test_the_project_of_a_key_file_is_taken_before_the_metadata_servers(google: IdentityServer, tmp_path: Path) -> None:
    config = GcpConfig(credentials_file=str(google.key_file(tmp_path)))
    assert await Identity(config, {"GCE_METADATA_HOST": google.host}).project() == "p-of-key"


async def test_a_machine_outside_a_cluster_has_no_cluster_name_and_its_zone_for_a_location(google: IdentityServer) -> None:
    google.attributes = {"instance/zone": "projects/1/zones/europe-west1-b"}
    who = Identity(GcpConfig(), {"GCE_METADATA_HOST": google.host})
    assert (await who.cluster_name(), await who.location()) == ("", "europe-west1-b")


async def test_what_answers_in_the_metadata_servers_place_and_is_not_it_is_not_believed(google: IdentityServer) -> None:
    """A captive portal, or a proxy."""
    google.flavor = "Apple"
    with pytest.raises(Retryable, match="is not Google's"):
        await Identity(GcpConfig(), {"GCE_METADATA_HOST": google.host}).project()
    async with Held(google) as held:
        with pytest.raises(Retryable, match="is not Google's"):
            await held.token()


async def test_the_metadata_server_is_never_asked_through_a_proxy(
    google: IdentityServer, monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with Held(google) as held:
        assert google.valid(await held.token())
    assert await Identity(GcpConfig(), {"GCE_METADATA_HOST": google.host, "HOME": "/x"}).project() == "p1"


async def test_a_metadata_server_that_is_not_there_yet_is_waited_for(google: IdentityServer) -> None:
    with pytest.raises(Retryable, match="set `cluster_name`"):
        await Identity(GcpConfig(), {"GCE_METADATA_HOST": "127.0.0.1:1"}).cluster_name()
    google.broken = 503
    with pytest.raises(Retryable, match="answered 503"):
        await Identity(GcpConfig(), {"GCE_METADATA_HOST": google.host}).project()


async def test_a_name_server_that_is_not_up_yet_is_waited_for_and_makes_no_cluster_unknown(
    google: IdentityServer, monkeypatch: pytest.MonkeyPatch,
) -> None:
    """On a node that has just started: else entries would say generic_node until the next restart, or the project be unknown."""
    import aiohttp

    real, down = aiohttp.TCPConnector._resolve_host, [socket.EAI_AGAIN]

    async def resolve(self: Any, host: str, port: int, traces: Any = None) -> Any:
        if down:
            raise socket.gaierror(down[0], "no answer")
        address, _, number = google.host.partition(":")
        return await real(self, address, int(number), traces)

    monkeypatch.setattr(aiohttp.TCPConnector, "_resolve_host", resolve)
    who = Identity(GcpConfig(), {"HOME": "/nonexistent"})
    with pytest.raises(Retryable, match="set `cluster_name`"):
        await who.cluster_name()
    with pytest.raises(Retryable, match="set `project`"):
        await who.project()
    down.clear()
    assert (await who.cluster_name(), await who.project()) == ("c1", "p1")
    down.append(socket.EAI_NONAME)
    assert await Identity(GcpConfig(), {"HOME": "/nonexistent"}).cluster_name() == "", "there is none here"
    with pytest.raises(Retryable, match=r"cannot connect to the metadata server at http://metadata\.example"):
        await Identity(GcpConfig(), {"GCE_METADATA_HOST": "metadata.example"}).cluster_name()       # somebody says it is there


async def test_an_empty_value_of_the_environment_asks_the_metadata_server(google: IdentityServer) -> None:
    """cluster_name: ${CLUSTER_NAME:-}"""
    who = Identity(GcpConfig(cluster_name="", location="", instance_id=""), {"GCE_METADATA_HOST": google.host})
    assert (await who.cluster_name(), await who.location(), await who.instance_id()) == ("c1", "europe-west1", "4242")


def test_an_endpoint_of_the_config_wins_over_the_emulators_and_that_over_googles() -> None:
    environ = {"STORAGE_EMULATOR_HOST": "http://localhost:9023/", "PUBSUB_EMULATOR_HOST": "localhost:8085"}
    assert _gcp_config.endpoint(GcpConfig(), "storage", {}) == "https://storage.googleapis.com"
    assert _gcp_config.endpoint(GcpConfig(), "storage", environ) == "http://localhost:9023"
    assert _gcp_config.endpoint(GcpConfig(), "pubsub", environ) == "http://localhost:8085"
    assert _gcp_config.endpoint(GcpConfig(endpoint="https://x.example.com"), "storage", environ) == "https://x.example.com"
    assert isinstance(credentials(GcpConfig(), "storage", Telemetry(), environ), Anonymous)
    assert isinstance(credentials(GcpConfig(endpoint="https://x.example.com"), "storage", Telemetry(), environ), GcpCredentials)


def test_an_emulator_variable_is_warned_of_and_a_wrong_one_refused() -> None:
    [(_, text)] = _gcp_config.warnings(GcpConfig(), "pubsub", {"PUBSUB_EMULATOR_HOST": "localhost:8085"})
    assert "nothing to Google" in text
    [(_, text)] = _gcp_config.problems(GcpConfig(), "pubsub", {"PUBSUB_EMULATOR_HOST": "local host"})
    assert "PUBSUB_EMULATOR_HOST" in text


# ------------------------------------------------------------ the whole command


def test_check_names_the_file_the_line_and_what_is_wrong_with_the_key(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key, config = tmp_path / "key.json", tmp_path / "shipper.yaml"
    key.write_text('{"type": "service_account"')
    config.write_text(
        "sources: {c: {type: containers}}\nsinks:\n  archive:\n    type: gcs\n    bucket: logs\n"
        f"    credentials_file: {key}\n")
    assert run_check(str(config), False, {}) == 2
    said = capsys.readouterr().err
    assert f"{config}:6:" in said and "sinks.archive.credentials_file" in said and f"{key} is not JSON" in said


def test_nothing_of_googles_is_imported_until_a_sink_asks_for_it() -> None:
    code = (
        "import sys, asyncio, shipper.sinks as s\n"
        "s.find('syslog'); spec = s.find('gcs')\n"
        "from shipper.telemetry import Telemetry\n"
        "from shipper.sinks._gcs_config import GcsConfig\n"
        "spec.build(GcsConfig(bucket='logs'), s.SinkContext('a', 'n', '/nonexistent', Telemetry()))\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('gcloud', 'google_crc32c', 'jwt', 'cryptography', 'aiohttp')])\n")
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert found.stdout.strip() == "[]"


async def test_the_metadata_servers_token_needs_no_cryptography(google: IdentityServer) -> None:
    code = (
        "import sys, asyncio\n"
        "from shipper.sinks._gcp_auth import GcpCredentials\nfrom shipper.sinks._gcp_config import GcpConfig\n"
        "from shipper.telemetry import Telemetry\n"
        f"held = GcpCredentials(GcpConfig(), 'storage', Telemetry(), {{'GCE_METADATA_HOST': '{google.host}'}})\n"
        "print(asyncio.run(held.headers())['Authorization'][:6], 'cryptography' in sys.modules)\n")
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stdout=subprocess.PIPE)
    said, _ = await process.communicate()
    assert said.decode().strip() == "Bearer False"


# ------------------------------------------------------------ sinks that use it


class Service:
    """Any of the REST services: 401 to a token that is not good, else `said`."""

    def __init__(self, google: IdentityServer, said: dict[str, Any]) -> None:
        self.google, self.said, self.statuses = google, said, []  # type: ignore[var-annotated]

    async def __aenter__(self) -> str:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        good = self.google.valid(request.headers.get("Authorization", "").removeprefix("Bearer "))
        self.statuses.append(200 if good else 401)
        return web.json_response(self.said) if good else web.json_response({"error": {"code": 401}}, status=401)


@pytest.mark.parametrize(("keys", "said"), [
    ("type: cloud_logging, cluster_name: c, location: l", {}),
    ("type: pubsub, topic: logs", {"messageIds": ["1"]}),
    ("type: pubsub, topic: logs, ordering_key: '{pod}'", {"messageIds": ["1"]}),
    ("type: bigquery, dataset: d, table: t, method: insert_all", {"kind": "bigquery#tableDataInsertAllResponse"}),
], ids=["cloud_logging", "pubsub", "pubsub in order", "bigquery"])
async def test_a_token_that_was_revoked_is_asked_for_anew_once_and_the_request_goes_out_with_it(
    google: IdentityServer, monkeypatch: pytest.MonkeyPatch, keys: str, said: dict[str, Any],
) -> None:
    monkeypatch.setenv("GCE_METADATA_HOST", google.host)
    monkeypatch.setenv("HOME", "/nonexistent")
    service = Service(google, said)
    async with service as url:
        entry = entry_of(f"{keys}, project: p1, proxy: none, endpoint: '{url}'")
        sink = entry.spec.build(entry.config, SinkContext("far", "n1", "/nonexistent", Telemetry()))
        sink.credentials._now_s = google.now_s
        one = Request(1, [batch([b"x"])])
        await sink.send(one, sink.encode(one.batches))
        google.revoke()
        with pytest.raises(Retryable, match="401"):
            await sink.send(one, sink.encode(one.batches))
        await sink.send(one, sink.encode(one.batches))
        assert service.statuses == [200, 401, 200]
        assert google.asked.count("instance/service-accounts/default/token") == 2
        await sink.close()
