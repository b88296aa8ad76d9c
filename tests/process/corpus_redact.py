"""The corpus of redaction: lines that hold one secret each, and lines that look like it and hold none. All values are made up."""
from __future__ import annotations

B64 = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj"
AKEY = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY00"
SECRETS: dict[str, list[str]] = {
    "email": ["bob@example.com", "first.last+tag@sub.example.co.uk", "a@b.io", "x_y-z@mail-1.example.org", "user%40example.com",
              "jürgen@example.de", "ROOT@EXAMPLE.COM"],
    "ipv4": ["10.0.0.1", "192.168.178.254", "8.8.8.8", "255.255.255.255", "172.16.31.9", "0.0.0.0"],
    "ipv6": ["2001:db8::1", "fe80::1ff:fe23:4567:890a", "::1", "2001:0db8:85a3:0000:0000:8a2e:0370:7334", "::ffff:192.0.2.128",
             "2001:DB8:0:0:8:800:200C:417A", "2001:db8:7::", "fe80::"],
    "credit_card": ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111", "378282246310005", "3782 822463 10005",
                    "5555555555554444", "6011111111111117", "30569309025904", "3530111333300000"],
    "jwt": ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U",
            "eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IifQ."],
    "aws_key": ["AKIAIOSFODNN7EXAMPLE", "ASIAQWERTYUIOPASDFGH"],
    "gcp_key": ["AIzaSyA1234567890abcdefghijklmnopqrstuv",
                "ya29.a0AfH6SMBx1234567890abcdef", "GOCSPX-abcdefghijklmnopqrstuvwx1234"],
    "github_token": [
        "ghp_" + "a1B2" * 9, "gho_" + "Z9y8" * 9, "ghs_" + "k3J4" * 9, "github_pat_11ABCDEFG0" + "xY7" * 20],
    "slack_token": [
        "xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOp", "xoxp-1111111111-abcdefghij", "xapp-1-A0123456789-1234567890"],
    "private_key": [f"-----BEGIN RSA PRIVATE KEY-----\\n{B64}\\n-----END RSA PRIVATE KEY-----",
                    f"-----BEGIN PRIVATE KEY-----\n{B64}\n-----END PRIVATE KEY-----", f"-----BEGIN EC PRIVATE KEY-----\n{B64}"],
}
AROUND = ["{}", "user {} logged in", '{{"value":"{}","n":1}}', "k={} next", "({})", "at 12:00:01 {}, done", "<{}>"]
IN_CONTEXT: list[tuple[str, str, str]] = [
    ("bearer", f"{before}{token}{behind}", token)
    for before in ("Authorization: Bearer ", "authorization: bearer ",
                   "BEARER ", '"Authorization":"Bearer ', "Authorization: Basic ")
    for token in ("abc123def456ghi789", "dXNlcjpwYXNzd29yZDE=", "2YotnFZFEjr1zCsicMWpAA") for behind in ("", '"')
] + [("aws_key", text.format(AKEY), AKEY) for text in (
    "AWS_SECRET_ACCESS_KEY={}", "aws_secret_access_key = {}", '"SecretAccessKey":"{}"', '"aws_secret_access_key": "{}"',
    "aws.secret.access.key: {}")]
TRUE: list[tuple[str, str, str]] = [
    (name, around.format(value), value) for name, values in SECRETS.items() for value in values for around in AROUND
    if not (value.startswith("-----BEGIN EC") and around != "{}")
] + IN_CONTEXT

_VERSIONS = ["1.2.3.4.5", "300.1.1.1", "1.2.3", "v1.2.3.4", "10.0.0.256", "01.02.03.04",
             "1.2.3.4-rc1", "release-1.2.3.4.5", "1.2.3.4a",
             "5.15.0.1.2-generic", "lib.so.1.2.3.4.5"]
_TIMES = ["12:34:56", "2026-11-21T09:04:05.123456789Z", "09:04:05.123", "00:1a:2b:3c:4d:5e", "00:11:22:33:44:55:66:77",
          "a::b", "std::fs",
          "Foo::Bar::baz",
          "::", "1:2:3", "10:20:30:40", "http://x:80/", "deadbeef::", "10:20:30:40:50"]
_NUMBERS = ["4111111111111112", "1732181234123456789", "4111 1111 1111 1112", "1234567890123", "0000000000000000", "123-456-789",
            "+4912345678901", "411111111111", "41111111111111111111111", "2026-11-21", "9999999999999999", "1.4111111111111111",
            "id4111111111111111"]
_NAMES = ["git@github.com:org/repo.git", "getty@tty1.service", "icon@2x.png", "lodash@4.17.21", "image@sha256:abcdef",
    "@decorator",
          "user@", "@example.com", "a @ b", "user@localhost", "foo@bar", "x@y.1", "50% off @ shop"]
_TOKENS = ["eyJust a word", "eyJhbGciOiJIUzI1NiJ9", "ghp_short", "xoxo hugs and kisses", "AKIAshort", "AIzaShort",
    "bearer of bad news",
           "the bearer authentication failed", "bearer token missing", "basic authentication required", "xapp-", "ghp", "ya29.",
           "BEGIN PRIVATE KEY", "-----BEGIN CERTIFICATE-----", "-----BEGIN PUBLIC KEY-----", "secret_key: short",
               "monkey: banana",
           "sha256:" + "ab12" * 16, "550e8400-e29b-41d4-a716-446655440000", "github_pat_", "PRIVATE KEY rotation done"]
FALSE: list[str] = [around.format(value) for value in (*_VERSIONS, *_TIMES, *_NUMBERS, *_NAMES, *_TOKENS)
                    for around in ("{}", "the {} was seen", '{{"x":"{}"}}', "k={}")]
