"""Wrong configs: the exact messages, as a user reads them behind `FILE:`. Each says where, what, and the mend."""
import pytest

from tests.config.fake_sink import problems

S = "sources:\n  c: {type: containers}\n"
K = "sinks:\n  out: {type: fake, address: a}\n"
BILLION = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))

CASES = [
    ("an empty file", "", [
        '1:1: the config is empty; begin with sources: and sinks: (see docs/configuration.md)',
    ]),
    ("comments only", "# nothing\n", [
        '1:1: the config is empty; begin with sources: and sinks: (see docs/configuration.md)',
    ]),
    ("a document without keys", "---\n...\n", [
        '1:1: the config is empty; begin with sources: and sinks: (see docs/configuration.md)',
    ]),
    ("a list instead of keys", "- a\n- b\n", [
        '1:1: a list, and keys are expected; begin with sources: and sinks: (see docs/configuration.md)',
    ]),
    ("bytes that are not UTF-8", b"node: \xff\n", [
        '1:7: not UTF-8 (byte 0xff); save the file as UTF-8',
    ]),
    ("a control character", S + K + "node: a\x01b\n", [
        '5:8: control characters are not allowed; remove the character',
    ]),
    ("a tab", "sources:\n\tc: {type: containers}\n", [
        '2:1: a tab where YAML takes only spaces; indent with spaces',
    ]),
    ("a pattern that begins with a star, without quotes", "sources:\n  h: {type: files, include: [*.log]}\n" + K, [
        ('2:31: not YAML: did not find expected alphabetic or numeric character; quote a value that begins with * or &'),
    ]),
    ("a config of Fluent Bit", "[INPUT]\n    Name tail\n", [
        ('1:1: this looks like a config of Fluent Bit, and shipper has one of its own; docs/coming-from.md says what each part '
         'is called here'),
    ]),
    ("a config of Vector in TOML", '[sources.app]\ntype = "file"\n', [
        ('1:1: this looks like a config of Vector, and shipper has one of its own; docs/coming-from.md says what each part is '
         'called here'),
    ]),
    ("a config of rsyslog", 'module(load="imfile")\n*.* @@loghost:514\n', [
        ('1:1: this looks like a config of rsyslog, and shipper has one of its own; shipper convert rsyslog FILE > shipper.yaml '
         'makes it, and docs/coming-from.md says what each part is called here'),
    ]),
    ("a colon in a plain value", "node: a: b\n", [
        ("1:8: not YAML: mapping values are not allowed in this context; a value that holds ': ' must be quoted, or this "
         'line is not indented as its neighbours'),
    ]),
    ("an open bracket", "sources: {c: {type: containers}\nsinks: {}\n", [
        ("2:1: not YAML: did not find expected ',' or '}'; close the bracket; inside [ ] and { } quote a value that holds "
         '${...}'),
    ]),
    ("an open quote", 'node: "a\n', [
        '2:1: not YAML: found unexpected end of stream; close the quote',
    ]),
    ("a variable in a plain list", S + "sinks:\n  out: {type: fake, address: a, paths: [${A}]}\n", [
        ("4:42: not YAML: did not find expected ',' or ']'; close the bracket; inside [ ] and { } quote a value that "
         'holds ${...}'),
    ]),
    ("a value that begins with @", "node: @a\n", [
        '1:7: not YAML: found character that cannot start any token; quote the value',
    ]),
    ("two documents", S + K + "---\nnode: a\n", [
        '5:1: a second document (---) begins here; a config is one document',
    ]),
    ("a tag", "node: !!str a\n", [
        '1:7: the tag !!str is not supported; remove it',
    ]),
    ("a tagged key", "!x node: a\n", [
        '1:1: the tag !x is not supported; remove it',
    ]),
    ("a merge key", "sources: &s {c: {type: containers}}\n<<: *s\n", [
        '2:1: merge keys (<<) are not supported; write the keys out',
    ]),
    ("an alias of nothing", "node: *a\n", [
        '1:7: *a names no anchor that ends above; write &a there, or quote the value if the * is meant as text',
    ]),
    ("an alias of itself", "sources: &a {c: *a}\n", [
        '1:17: *a names no anchor that ends above; write &a there, or quote the value if the * is meant as text',
    ]),
    ("a key that is a map", "{a: b}: c\n", [
        '1:1: a key must be text; quote a value that starts with { or [, or is "${NAME}" in a list',
    ]),
    ("more levels than any config has", "a: " + "[" * 30 + "]" * 30 + "\n", [
        '1:27: more than 24 levels deep; no config needs that',
    ]),
    ("aliases that multiply", BILLION, [
        '4:5: more than 20000 values or 24 levels with all aliases written out; no config needs that',
    ]),
    ("a key that stands twice", S + K + "node: a\nnode: b\n", [
        '6:1: node: the key stands twice: in line 5 column 1 and here; remove one',
    ]),
    ("an unknown key", S + K + "stat_dir: /x\n", [
        "5:1: stat_dir: unknown key; did you mean 'state_dir'?",
    ]),
    ("an unknown key like no other", S + K + "zzz: /x\n", [
        ('5:1: zzz: unknown key; known here: node, state_dir, sources, process, kubernetes, buffer, sinks, admin, log, '
         'shutdown_grace, lock_wait, tests'),
    ]),
    ("no sources and no sinks", "node: a\n", [
        '1:1: sinks: no sink, so nothing would be delivered; add one, for example out: {type: stdout}',
        '1:1: sources: no source, so nothing would be read; add one, for example containers: {type: containers}',
    ]),
    ("empty sections", "sources:\nsinks: {}\n", [
        '1:1: sources: empty, and a map (key: value) is expected; indent its keys below it, or remove the key',
        '2:1: sinks: no sink, so nothing would be delivered; add one, for example out: {type: stdout}',
    ]),
    ("sources as a list", "sources:\n  - {type: containers}\nsinks: {out: {type: fake, address: x}}\n", [
        '1:1: sources: a list, and a map (key: value) is expected; write a name and a colon in place of each dash',
    ]),
    ("a section that is text", S + K + "admin: yes\n", [
        '5:1: admin: a single value, and a map (key: value) is expected; indent its keys below it, or remove the key',
    ]),
    ("an unset variable", S + K + "node: ${NODE_NAME}\n", [
        '5:7: node: the environment variable NODE_NAME is not set; set it, or write ${NODE_NAME:-default}',
    ]),
    ("two unset variables in one value", S + "sinks:\n  out: {type: fake, address: '${H}:${P}'}\n", [
        ('4:30: sinks.out.address: the environment variable H is not set; set it, or write ${H:-default}; the environment '
         'variable P is not set; set it, or write ${P:-default}'),
    ]),
    ("a variable that is not closed", S + K + "node: ${NODE\n", [
        '5:7: node: a ${ that is no variable; write ${NAME} or ${NAME:-default}, or $${ for a plain ${',
    ]),
    ("a variable with a bad name", S + K + "node: ${a-b}\n", [
        '5:7: node: a ${ that is no variable; write ${NAME} or ${NAME:-default}, or $${ for a plain ${',
    ]),
    ("no as text", S + K + "node: no\n", [
        '5:7: node: \'no\' is true or false in YAML 1.1, and text is expected; quote it: "no"',
    ]),
    ("a number as text", S + K + "node: 12\n", [
        '5:7: node: \'12\' is a number in YAML 1.1, and text is expected; quote it: "12"',
    ]),
    ("a time of day as text", S + K + "node: 12:30:00\n", [
        '5:7: node: \'12:30:00\' is a number to base 60 in YAML 1.1, and text is expected; quote it: "12:30:00"',
    ]),
    ("a date as text", S + K + "node: 2026-11-20\n", [
        '5:7: node: \'2026-11-20\' is a date in YAML 1.1, and text is expected; quote it: "2026-11-20"',
    ]),
    ("nothing as text", S + K + "node:\n", [
        '5:6: node: empty, and text is expected; give it a value or remove the key',
    ]),
    ("a list as text", S + K + "node: [a]\n", [
        '5:7: node: a list, and one value is expected; a value that starts with { or [ must be quoted',
    ]),
    ("a template that is not quoted", S + "sinks:\n  out: {type: fake, address: a}\nstate_dir: {namespace}\n", [
        '5:12: state_dir: a map, and one value is expected; a value that starts with { or [ must be quoted',
    ]),
    ("yes as a switch", S + K + "admin: {expose_status: yes}\n", [
        "5:24: admin.expose_status: 'yes' is not true or false; write true or false, without quotes",
    ]),
    ("a quoted switch", S + K + "admin: {expose_status: 'true'}\n", [
        "5:24: admin.expose_status: 'true' is not true or false; write true or false, without quotes",
    ]),
    ("an octal number", S + "sinks:\n  out: {type: fake, address: a, port: 0644}\n", [
        "4:39: sinks.out.port: '0644' is not a whole number; YAML 1.1 reads the leading 0 as octal; write 644",
    ]),
    ("a quoted number", S + "sinks:\n  out: {type: fake, address: a, port: '514'}\n", [
        "4:39: sinks.out.port: '514' is text, and a whole number is expected; remove the quotes",
    ]),
    ("a number to base 60", S + "sinks:\n  out: {type: fake, address: a, port: 1:30}\n", [
        "4:39: sinks.out.port: '1:30' is not a whole number; YAML 1.1 reads it to base 60; write the number in digits",
    ]),
    ("a number that is a word", S + "sinks:\n  out: {type: fake, address: a, ratio: much}\n", [
        "4:40: sinks.out.ratio: 'much' is not a number; write digits only, for example 5",
    ]),
    ("a size without a known unit", S + K + "buffer: {max_size: 1Gb}\n", [
        "5:20: buffer.max_size: '1Gb' is not a size; write for example 16MiB, 512KiB or 1048576",
    ]),
    ("a duration without unit", S + K + "shutdown_grace: 25\n", [
        '5:17: shutdown_grace: 25 is not a duration; write it with its unit, for example 500ms, 5s or 2m',
    ]),
    ("a choice with a typing mistake", S + "sinks:\n  out: {type: fake, address: a, when_full: drop-oldest}\n", [
        "4:44: sinks.out.when_full: 'drop-oldest' is not one of block, drop_oldest; did you mean 'drop_oldest'?",
    ]),
    ("one value for a list", "sources:\n  h: {type: files, include: /var/log/syslog}\n" + K, [
        '2:29: sources.h.include: one value, and a list is expected; put it in [ ]',
    ]),
    ("a source without type", "sources:\n  c: {include: [/x/*.log]}\n" + K, [
        '2:3: sources.c.type: missing; add type: containers or files or journal or kmsg',
    ]),
    ("a source whose key type is misspelt", "sources:\n  c: {typ: files, include: [/x/*.log]}\n" + K, [
        "2:7: sources.c.typ: unknown key; did you mean 'type'?",
    ]),
    ("an unknown source type", "sources:\n  c: {type: file, include: [/x/*.log]}\n" + K, [
        "2:13: sources.c.type: 'file' is not one of containers, files, journal, kmsg; did you mean 'files'?",
    ]),
    ("a files source without include", "sources:\n  h: {type: files}\n" + K, [
        '2:3: sources.h.include: missing; add this key',
    ]),
    ("a format of a later release", "sources:\n  h: {type: files, include: [/x/*.log], format: journal}\n" + K, [
        "2:49: sources.h.format: 'journal' is not one of cri, docker, docker-daemon, json, klog, plain, raw, syslog",
    ]),
    ("a sink without type", S + "sinks:\n  out: {address: a}\n", [
        '4:3: sinks.out.type: missing; say where records go, for example type: syslog',
    ]),
    ("a sink whose key type is misspelt", S + "sinks:\n  out: {typ: syslog, address: a}\n  two: {address: a, '@type': x}\n", [
        "4:9: sinks.out.typ: unknown key; did you mean 'type'?",
        "5:21: sinks.two.@type: unknown key; did you mean 'type'?",
    ]),
    ("a variable as a key", S + "sinks:\n  out: {type: fake, address: a, '${K}': 1}\n  ${NAME}: {type: fake, address: b}\n", [
        "4:33: sinks.out.${K}: unknown key: a variable stands in it, and they are put into values only; write the key out",
        "5:3: sinks.${NAME}: a variable stands in the name, and they are put into values only; write the name out",
    ]),
    ("an unknown sink type", S + "sinks:\n  out: {type: fax}\n", [
        "4:15: sinks.out.type: unknown sink type 'fax'; use one of fake",
    ]),
    ("a sink whose library is not installed", S + "sinks:\n  out: {type: absent_extra}\n", [
        '4:15: sinks.out.type: needs the Python module acme, which is not installed; install it',
    ]),
    ("a sink without its required key", S + "sinks:\n  out: {type: fake}\n", [
        '4:3: sinks.out.address: missing; add this key',
    ]),
    ("an unknown key of a sink", S + "sinks:\n  out: {type: fake, adress: a}\n", [
        "4:21: sinks.out.adress: unknown key; did you mean 'address'?",
    ]),
    ("an unknown key in a nested map", S + "sinks:\n  out: {type: fake, address: a, tls: {verfy: true}}\n", [
        "4:39: sinks.out.tls.verfy: unknown key; did you mean 'verify'?",
    ]),
    ("a key that belongs one level down", S + "sinks:\n  out: {type: fake, address: a, ca: x, tls_verify: true, ca_file: x}\n", [
        "4:33: sinks.out.ca: unknown key; did you mean 'tls.ca'?",
        "4:40: sinks.out.tls_verify: unknown key; did you mean 'tls.verify'?",
        "4:58: sinks.out.ca_file: unknown key; did you mean 'tls.ca'?",
    ]),
    ("a key as other programs call it", S + "sinks:\n  out: {type: fake, address: a, tls: {ca_file: x, skip_verify: true}}\n", [
        "4:39: sinks.out.tls.ca_file: unknown key; did you mean 'ca'?",
        "4:51: sinks.out.tls.skip_verify: unknown key; did you mean 'verify'?",
    ]),
    ("an unknown key of a sink like no other", S + "sinks:\n  out: {type: fake, address: a, zzz: 1}\n", [
        ("4:33: sinks.out.zzz: unknown key; known here: address, port, protocol, format, ratio, token, headers, paths, tls, "
         "limit, timeout, anything, one_or_more, type, when, when_full, max_backlog, max_backlog_age, concurrency, start_at, "
         "previously, give_up_after, max_request_bytes, max_request_records, linger"),
    ]),
    ("what the sink's own Struct refuses", S + "sinks:\n  out: {type: fake, address: a, port: 70000}\n", [
        '4:3: sinks.out: the port is over 65535; use a lower one',
    ]),
    ("what the sink's own check refuses", S + "sinks:\n  out: {type: fake, address: a, tls: {ca: /absent.pem}}\n", [
        '4:39: sinks.out.tls.ca: cannot be read; give a readable file',
    ]),
    ("a sink name that is no file name", S + "sinks:\n  a/b: {type: fake, address: a}\n", [
        ('4:3: sinks.a/b: names are metric labels and file names; use 1 to 63 of A-Z a-z 0-9 _ . -, beginning with a '
         'letter or digit'),
    ]),
    ("a node with a blank", S + K + "node: my host\n", [
        "5:1: node: the node's name goes into every record and syslog header; use 1 to 255 visible ASCII characters",
    ]),
    ("a relative state_dir", S + K + "state_dir: state\n", [
        ("5:1: state_dir: must be an absolute path below /: the agent's working directory differs between shell, systemd "
         'and pod; write for example /var/lib/shipper'),
    ]),
    ("a buffer that is too small", S + K + "buffer: {max_size: 1MiB, segment_size: 64KiB}\n", [
        ('5:10: buffer.max_size: must be from 8MiB to 8192TiB: less holds no segments beside the 4 MiB that are kept for '
         'a full disk'),
    ]),
    ("segments that are too large", S + K + "buffer: {max_size: 32MiB, segment_size: 16MiB}\n", [
        ('5:27: buffer.segment_size: segment_size (16MiB) must be at most a quarter of max_size (32MiB): room is freed by '
         'whole segments; lower segment_size or raise max_size'),
    ]),
    ("no concurrency", S + "sinks:\n  out: {type: fake, address: a, concurrency: 0}\n", [
        ('4:33: sinks.out.concurrency: must be from 1 to 64: each request in flight holds memory and a connection; 1 '
         'keeps the order'),
    ]),
    ("no patterns", "sources:\n  c: {type: containers, include: []}\n" + K, [
        '2:25: sources.c.include: no pattern, so nothing would be read; add one, for example /var/log/*.log',
    ]),
    ("a relative include", "sources:\n  h: {type: files, include: [log/*.log]}\n" + K, [
        ("2:30: sources.h.include[0]: must be an absolute path: the agent's working directory differs between shell, "
         'systemd and pod; begin it with /'),
    ]),
    ("an include of a home directory, as a shell writes it", "sources:\n  h: {type: files, include: [~/x.log]}\n" + K, [
        "2:30: sources.h.include[0]: must be an absolute path; for a home directory write ${HOME}/...",
    ]),
    ("an include that is a directory", "sources:\n  h: {type: files, include: [/var/log/]}\n" + K, [
        ('2:30: sources.h.include[0]: names a directory, or is over 1024 characters; end it with a file name or a '
         'wildcard, such as /*.log'),
    ]),
    ("an include that goes up", "sources:\n  h: {type: files, include: [/var/log/../x.log]}\n" + K, [
        "2:30: sources.h.include[0]: must not hold '..', because links are judged by where they end; write the path out",
    ]),
    ("an exclude that never matches", "sources:\n  c: {type: containers, exclude: [var/log/x]}\n" + K, [
        ('2:35: sources.c.exclude[0]: never matches a path; begin it with / or **/, or write a pattern for the file name '
         'alone, without a slash'),
    ]),
    ("a relative allowed root", "sources:\n  c: {type: containers, allowed_roots: [log]}\n" + K, [
        '2:41: sources.c.allowed_roots[0]: must be an absolute directory; begin it with /',
    ]),
    ("an include that reads a sink's output",
     "sources:\n  h: {type: files, include: [/out/*/*.log]}\n"
     "sinks:\n  out: {type: fake, address: a, paths: ['/out/{namespace}/{pod}.log']}\n", [
        ('2:30: sources.h.include[0]: would read the output of sink out, which grows by what is read: a loop; narrow the '
         'pattern, or add that path to exclude'),
    ]),
    ("an include that reads the state",
     "state_dir: /opt/state\nsources:\n  h: {type: files, include: [/opt/**/*.json]}\n" + K, [
        ("3:30: sources.h.include[0]: would read the agent's own state (/opt/state), which grows by what is read: a loop; "
         'narrow the pattern, or add that path to exclude'),
    ]),
    ("two sinks with one target", S + "sinks:\n  a: {type: fake, address: x}\n  b: {type: fake, address: x}\n", [
        ('5:3: sinks.b: writes to x:514, and so does sink a: their records would be mixed or cut; give it another target, '
         'or put both rules into one sink'),
    ]),
    ("raw lines from a source that takes them apart", S + "sinks:\n  out: {type: fake, address: x, format: raw}\n", [
        ('4:33: sinks.out.format: this sink forwards lines as they stand, and source c takes them apart (format: auto); '
         'set sources.c.format: raw, or route other sources here with when: {source: [...]}'),
    ]),
    ("an unknown key in when", S + "sinks:\n  out: {type: fake, address: x, when: {namspace: [a]}}\n", [
        "4:40: sinks.out.when.namspace: unknown key; did you mean 'namespace'?",
    ]),
    ("a number in when", S + "sinks:\n  out: {type: fake, address: x, when: {pod: [1]}}\n", [
        '4:40: sinks.out.when.pod: a list of names is expected; write it as pod: [first, second], and quote numbers',
    ]),
    ("labels without names", S + "sinks:\n  out: {type: fake, address: x, when: {labels: [a]}}\n", [
        '4:40: sinks.out.when.labels: a map is expected; write it as labels: {tier: [web]}',
    ]),
    ("a source in when that there is none of", S + "sinks:\n  out: {type: fake, address: x, when: {source: [host]}}\n", [
        "4:40: sinks.out.when.source: 'host' matches none of c; correct it, or this sink would get nothing",
    ]),
    ("previously a sink that is still there",
     S + "sinks:\n  a: {type: fake, address: x}\n  b: {type: fake, address: z, previously: a}\n", [
        '5:31: sinks.b.previously: a is a sink of this config and keeps its own cursor; remove that sink, or this line',
    ]),
    ("two heirs of one sink",
     S + "sinks:\n  a: {type: fake, address: x, previously: o}\n  b: {type: fake, address: z, previously: o}\n", [
        '5:31: sinks.b.previously: sink a inherits the cursor of o already; remove this line',
    ]),
    ("an address that is none", S + K + "admin: {listen: ':3903'}\n", [
        ("5:9: admin.listen: ':3903' is not address:port; write for example 127.0.0.1:3903, 0.0.0.0:3903 or [::1]:3903, "
         'or null to switch it off'),
    ]),
    ("a port that is none", S + K + "admin: {listen: '[::1]:99999'}\n", [
        ("5:9: admin.listen: '[::1]:99999' is not address:port; write for example 127.0.0.1:3903, 0.0.0.0:3903 or "
         '[::1]:3903, or null to switch it off'),
    ]),
]


@pytest.mark.parametrize(("text", "want"), [(text, want) for _, text, want in CASES], ids=[name for name, _, _ in CASES])
def test_a_wrong_config_is_refused_with(text, want):
    assert problems(text) == want


def test_every_message_ends_with_a_mend_or_says_what_is_known():
    for _, _, lines in CASES:
        for line in lines:
            assert any(sign in line for sign in (";", "not one of", "no config needs that", "must be from")), line
