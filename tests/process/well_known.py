# ruff: noqa: E501 - expressions stand as they are written
r"""Expressions that people bring along, as their agents' documentation and the programs' own pages have them, each with a line.

(name, expression, a line that it is for, how docs/processing/patterns.md says to write it where `check` finds no mend itself)
"""
from __future__ import annotations

_CLF = rb'10.1.2.3 - bob [20/Nov/2026:09:04:05 +0000] "GET /a/b?c=d HTTP/1.1" 200 512'
_COMBINED = _CLF + b' "https://example.com/x" "Mozilla/5.0 (X11; Linux x86_64)"'
_START = r'^(?<host>[^ ]*) [^ ]* (?<user>[^ ]*) \[(?<time>[^\]]*)\] '
_REQUEST = r'"(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)'
_AGENT = r'(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)")?$'
_ENVOY = r'^\[(?<start_time>[^\]]*)\] "(?<method>\S+)(?: +(?<path>[^\"]*?)(?: +\S*)?)? (?<protocol>\S+)" '
_ISTIO_REST = (
    r'(?<response_code>[^ ]*) (?<response_flags>[^ ]*) (?<response_code_details>[^ ]*) (?<connection_termination_details>[^ ]*) '
    r'"(?<upstream_transport_failure_reason>[^\"]*)" (?<bytes_received>[^ ]*) (?<bytes_sent>[^ ]*) (?<duration>[^ ]*) '
    r'(?<upstream_service_time>[^ ]*) "(?<x_forwarded_for>[^\"]*)" "(?<user_agent>[^\"]*)" "(?<request_id>[^\"]*)" '
    r'"(?<authority>[^\"]*)" "(?<upstream_host>[^\"]*)" (?<upstream_cluster>[^ ]*) (?<upstream_local_address>[^ ]*) '
    r'(?<downstream_local_address>[^ ]*) (?<downstream_remote_address>[^ ]*) (?<requested_server_name>[^ ]*) (?<route_name>[^ ]*)')
_SPRING = r'^(?<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{3}\S*)\s+(?<level>\w+)\s+(?<pid>\d+)\s+---\s+\[\s*(?<thread>[^\]]+)\]'
_HAPROXY = (
    r'^(?<process>\w+)\[(?<pid>\d+)\]: (?<client>[\w.]+):(?<port>\d+) \[(?<time>{}+)\] (?<frontend>[\w-]+) '
    r'(?<backend>[\w-]+)/(?<server>[\w-]+) (?<tq>\d+)/(?<tw>\d+)/(?<tc>\d+)/(?<tr>\d+)/(?<tt>\d+) (?<status>\d+) (?<bytes>\d+) '
    r'(?<req_cookie>\S?) (?<res_cookie>\S?) (?<state>[\w-]+) (?<act>\d+)/(?<fe>\d+)/(?<be>\d+)/(?<srv>\d+)/(?<retries>\d+) '
    r'(?<srv_queue>\d+)/(?<backend_queue>\d+) ')

WELL_KNOWN: list[tuple[str, str, bytes, str | None]] = [
    ("fluent-bit apache", _START + _REQUEST + _AGENT, _COMBINED, None),
    ("fluent-bit apache2", _START + r'"(?<method>\S+)(?: +(?<path>[^ ]*) +\S*)?" (?<code>[^ ]*) (?<size>[^ ]*)'
     r'(?: "(?<referer>[^\"]*)" "(?<agent>.*)")?$', _COMBINED, None),
    ("fluentd apache2", _START + r'"(?<method>\S+)(?: +(?<path>(?:[^\"]|\\.)*?)(?: +\S*)?)?" (?<code>[^ ]*) (?<size>[^ ]*)'
     r'(?: "(?<referer>(?:[^\"]|\\.)*)" "(?<agent>(?:[^\"]|\\.)*)")?$', _COMBINED,
     _START + r'"(?<method>[^ "]+) (?<path>[^ "]*)(?: [^"]*)?" (?<code>[^ ]*) (?<size>[^ ]*)'
     r'(?: "(?<referer>[^"]*)" "(?<agent>[^"]*)")?$'),
    ("fluent-bit apache_error", r'^\[[^ ]* (?<time>[^\]]*)\] \[(?<level>[^\]]*)\](?: \[pid (?<pid>[^\]]*)\])?'
     r'( \[client (?<client>[^\]]*)\])? (?<message>.*)$',
     b"[Fri Nov 20 09:04:05.1 2026] [core:error] [pid 35708] [client 10.1.2.3:5000] File does not exist", None),
    ("fluent-bit nginx", _START.replace("[^ ]* (?<user>", "(?<remote>[^ ]*) (?<user>") + _REQUEST + _AGENT, _COMBINED, None),
    ("fluentd nginx", _START + _REQUEST + r'(?: "(?<referer>[^\"]*)" "(?<agent>[^\"]*)"(?:\s+(?<forwarded>[^ ]+))?)?$',
     _COMBINED + b" 10.9.8.7", None),
    ("fluent-bit k8s-nginx-ingress", r'^(?<host>[^ ]*) - \[(?<real_ip>[^ ]*)\] - (?<user>[^ ]*) \[(?<time>[^\]]*)\] ' + _REQUEST +
     r' "(?<referer>[^\"]*)" "(?<agent>[^\"]*)" (?<request_length>[^ ]*) (?<request_time>[^ ]*) \[(?<upstream>[^ ]*)\] '
     r'(?<upstream_addr>[^ ]*) (?<length>[^ ]*) (?<upstream_time>[^ ]*) (?<upstream_status>[^ ]*) (?<last>[^$]*)',
     b'10.1.2.3 - [10.1.2.3] - - [20/Nov/2026:09:04:05 +0000] "GET /x HTTP/2.0" 200 12 "-" "curl/8" 35 0.001 [shop-web-80] '
     b'10.0.0.9:8080 12 0.001 200 abcdef', None),
    ("nginx error", r'^(?<time>\d{4}/\d\d/\d\d \d\d:\d\d:\d\d) \[(?<level>\w+)\] (?<pid>\d+)#(?<tid>\d+): (?:\*(?<cid>\d+) )?'
     r'(?<message>.*)$', b"2026/11/20 09:04:05 [error] 12#12: *7 open() failed", None),
    ("fluent-bit docker-daemon", r'time="(?<time>[^ ]*)" level=(?<level>[^ ]*) msg="(?<msg>[^ ].*)"',
     b'time="2026-11-20T09:04:05Z" level=info msg="Container abc failed to exit"', None),
    ("fluentd-gcp docker", r'^time="(?<time>[^)]*)" level=(?<severity>[^ ]*) msg="(?<message>[^"]*)"( err="(?<error>[^"]*)")?'
     r'( statusCode=(?<status_code>\d+))?', b'time="2026-11-20T09:04:05Z" level=error msg="no" err="x" statusCode=404', None),
    ("fluent-bit syslog-rfc5424", r'^\<(?<pri>[0-9]{1,5})\>1 (?<time>[^ ]+) (?<host>[^ ]+) (?<ident>[^ ]+) (?<pid>[-0-9]+) '
     r'(?<msgid>[^ ]+) (?<extradata>(\[(.*)\]|-)) (?<message>.+)$',
     b'<34>1 2026-11-20T09:04:05.1Z n1 su 77 ID47 [a@1 b="c"] su root failed', None),
    ("fluent-bit syslog-rfc3164-local", r'^\<(?<pri>[0-9]+)\>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<ident>[a-zA-Z0-9_\/\.\-]*)'
     r'(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *(?<message>.*)$', b"<34>Nov 20 09:04:05 su[77]: su root failed",
     r'^<(?<pri>\d+)>(?<time>\S+ {1,2}\d+ \S+) (?<ident>[^ :\[]+)(?:\[(?<pid>\d+)\])?: (?<message>.*)'),
    ("fluent-bit syslog-rfc3164", r'^\<(?<pri>[0-9]+)\>(?<time>[^ ]* {1,2}[^ ]* [^ ]*) (?<host>[^ ]*) '
     r'(?<ident>[a-zA-Z0-9_\/\.\-]*)(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *(?<message>.*)$',
     b"<34>Nov 20 09:04:05 n1 su[77]: su root failed",
     r'^<(?<pri>\d+)>(?<time>\S+ {1,2}\d+ \S+) (?<host>\S+) (?<ident>[^ :\[]+)(?:\[(?<pid>\d+)\])?: (?<message>.*)'),
    ("fluentd syslog", r'^(?<time>[^ ]*\s*[^ ]* [^ ]*) (?<host>[^ ]*) (?<ident>[^ :\[]*)(?:\[(?<pid>[0-9]+)\])?(?:[^\:]*\:)? *'
     r'(?<message>.*)$', b"Nov 20 09:04:05 n1 su[77]: su root failed",
     r'^(?<time>\S+ {1,2}\d+ \S+) (?<host>\S+) (?<ident>[^ :\[]+)(?:\[(?<pid>\d+)\])?: (?<message>.*)'),
    ("fluent-bit mongodb", r'^(?<time>[^ ]*)\s+(?<severity>\w)\s+(?<component>[^ ]+)\s+\[(?<context>[^\]]+)]\s+(?<message>.*?) *'
     r'(?<ms>(\d+))?(:?ms)?$', b"2026-11-20T09:04:05.123+0000 I NETWORK [thread1] waiting for connections",
     r'^(?<time>[^ ]*) +(?<severity>\w) +(?<component>[^ ]+) +\[(?<context>[^\]]+)\] +(?<message>.*)'),
    ("fluent-bit cri", r'^(?<time>[^ ]+) (?<stream>stdout|stderr) (?<logtag>[^ ]*) (?<message>.*)$',
     b"2026-11-20T09:04:05.1Z stdout F hello", None),
    ("fluentd-gcp cri", r'^(?<time>.+) (?<stream>stdout|stderr) [^ ]* (?<log>.*)$', b"2026-11-20T09:04:05.1Z stdout F hello", None),
    ("fluentd kubernetes (klog)", r'^(?<severity>\w)(?<time>\d{4} [^\s]*)\s+(?<pid>\d+)\s+(?<source>[^ \]]+)\] (?<log>.*)',
     b"W1120 09:04:05.123456       1 reflector.go:324] watch ended", None),
    ("fluent-bit envoy", _ENVOY + r'(?<code>[^ ]*) (?<flags>[^ ]*) (?<received>[^ ]*) (?<sent>[^ ]*) (?<duration>[^ ]*) '
     r'(?<upstream_service_time>[^ ]*) "(?<x_forwarded_for>[^ ]*)" "(?<user_agent>[^\"]*)" "(?<request_id>[^\"]*)" '
     r'"(?<authority>[^ ]*)" "(?<upstream_host>[^ ]*)"',
     b'[2026-11-20T09:04:05.123Z] "POST /v1/locations HTTP/2" 204 - 154 0 226 100 "10.0.35.28" "nsq" "cc21" "locations" '
     b'"tcp://10.0.2.1:80"', None),
    ("istio", _ENVOY + _ISTIO_REST,
     b'[2026-11-20T09:04:05.123Z] "GET /status/418 HTTP/1.1" 418 - via_upstream - "-" 0 135 4 4 "-" "curl/8" "84961386" '
     b'"httpbin:8000" "10.0.0.9:80" outbound|8000||httpbin 10.44.1.23:37652 10.0.45.184:8000 10.44.1.23:46520 - default',
     r'^\[(?<start_time>[^\]]*)\] "(?<method>[^ "]+) (?<path>[^ "]+) (?<protocol>[^ "]+)" ' + _ISTIO_REST),
    ("haproxy http", _HAPROXY.replace("{}", ".") + r'\{?(?<req_headers>[^}"]*)\}? ?\{?(?<res_headers>[^}"]*)\}? ?"(?<request>[^"]*)"',
     b'haproxy[14389]: 10.0.1.2:33317 [20/Nov/2026:09:04:05.655] http-in static/srv1 10/0/30/69/109 200 2750 - - ---- 1/1/1/1/0 0/0 '
     b'{1wt.eu} {} "GET /index.html HTTP/1.1"',
     _HAPROXY.replace("{}", r"[^\]]") + r'(?:\{(?<req_headers>[^}"]*)\} )?(?:\{(?<res_headers>[^}"]*)\} )?"(?<request>[^"]*)"'),
    ("postgres", r'^(?<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? \w+) \[(?<pid>\d+)\] (?:(?<user>\w+)@(?<db>\w+) )?'
     r'(?<level>[A-Z]+): +(?<message>.*)$', b"2026-11-20 09:04:05.123 UTC [77] app@shop ERROR:  relation does not exist", None),
    ("postgres, short", r'^(?<time>\S+ \S+ \S+)\s+\[(?<pid>\d+)\]\s+(?<level>\w+):\s+(?<message>.*)$',
     b"2026-11-20 09:04:05.123 UTC [77] LOG:  checkpoint complete", None),
    ("mysql error", r'^(?<time>\S+) (?<thread>\d+) \[(?<level>\w+)\] (?:\[(?<code>[^\]]+)\] \[(?<subsystem>[^\]]+)\] )?(?<message>.*)$',
     b"2026-11-20T09:04:05.123456Z 0 [Warning] [MY-010068] [Server] CA certificate is self signed.", None),
    ("mysql slow", r'^# User@Host:\s+(?<user>[^\[]+)\[[^\]]*\]\s+@\s+(?<host>\S*)\s+\[(?<ip>[^\]]*)\]',
     b"# User@Host: root[root] @ localhost [127.0.0.1]", None),
    ("mysql slow times", r'^# Query_time:\s+(?<query_time>[\d.]+)\s+Lock_time:\s+(?<lock_time>[\d.]+)\s+Rows_sent:\s+(?<sent>\d+)',
     b"# Query_time: 2.000403  Lock_time: 0.000023 Rows_sent: 1  Rows_examined: 0", None),
    ("redis", r'^(?<pid>\d+):(?<role>[A-Z]) (?<time>\d{2} \w{3} \d{4} \d\d:\d\d:\d\d\.\d{3}) (?<level>[*#.-]) (?<message>.*)$',
     b"1:M 20 Nov 2026 09:04:05.123 * Ready to accept connections", None),
    ("python logging", r'^(?<time>\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) - (?<logger>\S+) - (?<level>\w+) - (?<message>.*)$',
     b"2026-11-20 09:04:05,123 - app.web - INFO - started", None),
    ("python, basic", r'^(?<level>[A-Z]+):(?<logger>[^:]+):(?<message>.*)$', b"INFO:root:started", None),
    ("spring boot", _SPRING + r'\s+(?<logger>\S+)\s*:\s+(?<message>.*)$',
     b"2026-11-20T09:04:05.123Z  INFO 1 --- [           main] o.s.b.w.e.tomcat.TomcatWebServer  : Tomcat started", None),
    ("log4j", r'^(?<time>[\d-]+ [\d:,]+) \[(?<thread>[^\]]*)\] (?<level>[A-Z]+)\s+(?<logger>[^ ]+) - (?<message>.*)$',
     b"2026-11-20 09:04:05,123 [main] WARN  org.example.App - slow", None),
    ("logback", r'^(?<time>\d\d:\d\d:\d\d\.\d{3}) \[(?<thread>.*?)\] (?<level>\w+) +(?<logger>\S+) - (?<message>.*)$',
     b"09:04:05.123 [main] DEBUG org.example.App - it - works", None),
    ("fluentd multiline (rails)", r'^(?<time>\d{4}-\d{1,2}-\d{1,2} \d{1,2}:\d{1,2}:\d{1,2}) \[(?<thread>.*)\] (?<level>[^\s]+)(?<message>.*)',
     b"2026-11-20 09:04:05 [main] INFO start", None),
    ("fluentd regexp", r'^\[(?<logtime>[^\]]*)\] (?<name>[^ ]*) (?<title>[^ ]*) (?<id>\d*)$', b"[2026-11-20] alice engineer 1", None),
    ("elasticsearch", r'^\[(?<time>[^\]]+)\]\[(?<level>\w+)\s*\]\[(?<component>[^\]]+?)\s*\] (?:\[(?<node>[^\]]+)\] )?(?<message>.*)$',
     b"[2026-11-20T09:04:05,123][INFO ][o.e.n.Node              ] [node-1] started", None),
    ("kafka", r'^\[(?<time>[^\]]+)\] (?<level>[A-Z]+) (?<message>.*) \((?<class>[^)]+)\)$',
     b"[2026-11-20 09:04:05,123] INFO [GroupCoordinator 1]: loaded (kafka.coordinator.GroupCoordinator)", None),
    ("zookeeper", r'^(?<time>\S+ \S+) \[myid:(?<id>\d*)\] - (?<level>\w+) +\[(?<thread>.*):(?<class>[^@]+)@(?<line>\d+)\] - (?<message>.*)$',
     b"2026-11-20 09:04:05,123 [myid:1] - INFO  [main:QuorumPeerMain@127] - Starting quorum peer", None),
    ("cassandra", r'^(?<level>[A-Z]+)\s+\[(?<thread>[^\]]+)\]\s+(?<time>\S+ \S+)\s+(?<class>[\w.]+):(?<line>\d+)\s+-\s+(?<message>.*)$',
     b"INFO  [main] 2026-11-20 09:04:05,123 StorageService.java:1446 - JOINING: Finish joining ring", None),
    ("rabbitmq", r'^(?<time>\S+ \S+) \[(?<level>\w+)\] <(?<pid>[^>]+)> (?<message>.*)$',
     b"2026-11-20 09:04:05.123 [info] <0.222.0> Server startup complete", None),
    ("coredns", r'^\[(?<level>[^\]]+)\]\s+(?<client>[^ ]+):(?<port>\d+)\s+-\s+(?<id>\d+)\s+"(?<type>\S+) (?<class>\S+) (?<name>\S+) '
     r'(?<proto>\S+) (?<size>\d+) (?<do>\S+) (?<bufsize>\d+)" (?<rcode>\S+) (?<rflags>\S+) (?<rsize>\d+) (?<duration>\S+)',
     b'[INFO] 10.0.0.7:50759 - 29008 "A IN example.org. udp 41 false 4096" NOERROR qr,rd,ra,ad 68 0.037990251s', None),
    ("audit", r'^type=(?<type>\S+) msg=audit\((?<time>[^:)]+):(?<serial>\d+)\): (?<message>.*)$',
     b"type=SYSCALL msg=audit(1795165445.123:24287): arch=c000003e syscall=2", None),
    ("sshd", r'Failed password for (?:invalid user )?(?<user>\S+) from (?<ip>\S+) port (?<port>\d+)',
     b"sshd[7]: Failed password for invalid user bob from 10.1.2.3 port 4711 ssh2", None),
    ("aws elb", r'^(?<type>[^ ]*) (?<time>[^ ]*) (?<elb>[^ ]*) (?<client>[^ ]*):(?<port>[0-9]*) (?<target>[^ ]*) (?<rt>[-.0-9]*) '
     r'(?<tt>[-.0-9]*) (?<ct>[-.0-9]*) (?<status>[-0-9]*) (?<target_status>[-0-9]*) (?<received>[-0-9]*) (?<sent>[-0-9]*) '
     r'"(?<request>[^"]*)" "(?<agent>[^"]*)"',
     b'http 2026-11-20T09:04:05.1Z app/lb 10.1.2.3:2817 10.0.0.1:80 0.000 0.001 0.000 200 200 34 366 "GET http://x/ HTTP/1.1" "curl"', None),
    ("vector", r'^(?P<timestamp>[\w\-:\+]+) (?P<level>\w+) (?P<message>.*)$', b"2026-11-20T09:04:05+00:00 INFO started", None),
    ("traefik", r'^(?<client>\S+) - (?<user>\S+) \[(?<time>[^\]]+)\] "(?<method>\S+) (?<path>\S+) (?<proto>\S+)" (?<status>\d+) (?<size>\d+) '
     r'"(?<referer>[^"]*)" "(?<agent>[^"]*)" (?<n>\d+) "(?<router>[^"]*)" "(?<url>[^"]*)" (?<ms>\d+)ms$',
     _COMBINED + b' 7 "web@docker" "http://10.0.0.9:80" 3ms', None),
    ("an e-mail address", r'(?<address>[a-zA-Z0-9_.+-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9-.]+)', b"from bob@example.com to eve", None),
    ("a password in a line", r'''(?i)(?:password|passwd|secret|token)["']?\s*[:=]\s*["']?(?<value>[^\s"',]+)''',
     b'login {"password": "abc"}', None),
]
