"""No secret leaves the config (P9)."""
import json

import pytest

from shipper.config.secrets import is_secret, redacted, scrub
from tests.config.fake_sink import load, problems

S = "sources:\n  c: {type: containers}\n"


@pytest.mark.parametrize("path", [
    ("sinks", "a", "token"), ("sinks", "a", "auth", "password"), ("sinks", "a", "headers", "X-Any"), ("sinks", "a", "api_key"),
    ("sinks", "a", "client_secret"), ("sinks", "a", "hec_token"), ("sinks", "a", "private_key"),
])
def test_keys_that_hold_secrets_are_known_by_name(path):
    assert is_secret(path)


@pytest.mark.parametrize("path", [
    ("sinks", "token", "address"), ("sinks", "a", "token_file"), ("sinks", "a", "tls", "key"), ("sinks", "a", "tokens_seen"),
    ("sources", "password", "include"), ("state_dir",), ("sinks", "a", "token_url"),
])
def test_files_names_and_other_words_are_no_secrets(path):
    assert not is_secret(path)


@pytest.mark.parametrize("keys", [
    "token: [hunter22]", "token: {a: hunter22}", "port: '${T}'", "token: '${T}', when_full: '${T}'", "limit: '${T}'",
    "timeout: '${T}'", "tls: {verify: '${T}'}", "ratio: '${T}'", "headers: {a: {b: hunter22}}",
    "when: {pod: ['${T}', 1]}",
])
def test_no_message_holds_a_value_from_the_environment_or_of_a_secret_key(keys):
    found = problems(S + f"sinks:\n  out: {{type: fake, address: a, {keys}}}\n", T="hunter22")
    assert found
    assert "hunter22" not in "\n".join(found)


@pytest.mark.parametrize("value", ["12345", "0x1f", "2026-01-01", "~"])
def test_a_plain_secret_that_yaml_would_misread_is_not_shown(value):
    found = problems(S + f"sinks:\n  out: {{type: fake, address: a, token: {value}}}\n")
    assert len(found) == 1
    assert value not in found[0].split(": ", 2)[2]


def test_what_a_sinks_check_says_is_scrubbed():
    assert problems(S + "sinks:\n  out: {type: fake, address: leaky, token: '${T}'}\n", T="hunter22") == [
        "4:21: sinks.out.address: the server does not take ***; get another"]


def test_the_shown_config_has_keys_and_defaults_and_no_secrets():
    text = S + "sinks:\n  out: {type: fake, address: 'https://u:pw@h/hunter22', token: '${T}', " \
               "paths: [/x/hunter22], headers: {A: b}}\n"
    shown = redacted(load(text, T="hunter22").config)
    assert json.loads(json.dumps(shown)) == shown
    out = shown["sinks"]["out"]
    assert (out["type"], out["address"], out["token"], out["paths"], out["headers"]) == (
        "fake", "https://***@h/***", "***", ["/x/***"], {"A": "***"})
    assert (out["when_full"], out["limit"], out["timeout"]) == ("block", None, 5.0)
    assert shown["sources"]["c"]["type"] == "containers"
    assert shown["buffer"] == {"max_size": 2**30, "segment_size": 2**24, "sync_interval": 0.5}


def test_a_secret_that_is_not_set_is_shown_as_such():
    assert redacted(load(S + "sinks:\n  out: {type: fake, address: a}\n").config)["sinks"]["out"]["token"] is None


def test_scrub_takes_the_longest_secret_first_and_leaves_short_words():
    assert scrub("abcdefgh abcd abc http://x:y@z/", {"abcd", "abcdefgh", "abc"}) == "*** *** abc http://***@z/"
