"""Ordinary log lines of many programs, seeded: what must never be joined. Each program is a function that yields a stretch of its
output, indented tables and all; words and shapes of traces among them."""
# ruff: noqa: E501 (lines of logs stand as they are written)
from __future__ import annotations

import random
from collections.abc import Callable, Iterator

Program = Callable[[random.Random], Iterator[str]]
WORDS = ["order", "user", "cart", "item", "invoice", "cache", "shard", "replica", "queue", "worker", "session", "token", "region", "bucket"]
PATHS = ["/", "/health", "/api/v1/users", "/api/v1/orders/17", "/static/app.js", "/metrics"]


def nginx(r: random.Random) -> Iterator[str]:
    yield f'10.0.{r.randrange(256)}.{r.randrange(256)} - - [20/Nov/2026:09:04:05 +0000] "GET {r.choice(PATHS)} HTTP/1.1" {r.choice([200, 404, 500])} {r.randrange(9999)} "-" "curl/8.4.0"'
    if r.random() < 0.2:
        yield f'2026/11/20 09:04:05 [error] 31#31: *{r.randrange(999)} connect() failed (111: Connection refused) while connecting to upstream, client: 10.0.0.1, server: _, request: "GET / HTTP/1.1"'


def postgres(r: random.Random) -> Iterator[str]:
    stamp = f"2026-11-20 09:04:{r.randrange(60):02}.123 UTC [{r.randrange(9999)}]"
    yield f"{stamp} LOG:  checkpoint starting: time"
    if r.random() < 0.5:
        yield f'{stamp} ERROR:  duplicate key value violates unique constraint "users_pkey"'
        yield f"{stamp} DETAIL:  Key (id)=({r.randrange(999)}) already exists."
        yield f"{stamp} STATEMENT:  SELECT u.id,"
        yield "\t       u.name"
        yield "\t  FROM users u"
        yield "\t WHERE u.id = 7"


def klog(r: random.Random) -> Iterator[str]:
    yield f'{r.choice("IWE")}1120 09:04:05.{r.randrange(10**6):06}       1 {r.choice(WORDS)}.go:{r.randrange(900)}] "Error syncing pod, skipping" err="failed to \\"StartContainer\\" for \\"web\\" with CrashLoopBackOff" pod="default/web-{r.randrange(9)}"'


def json_lines(r: random.Random) -> Iterator[str]:
    yield f'{{"level":"{r.choice(["info", "error"])}","ts":1763629445.{r.randrange(999)},"msg":"{r.choice(WORDS)} failed","error":"java.lang.Exception: x\\n\\tat a.b.C.d(C.java:1)"}}'


def log4j(r: random.Random) -> Iterator[str]:
    level = r.choice(["INFO ", "WARN ", "ERROR", "DEBUG"])
    yield f"2026-11-20 09:04:05,{r.randrange(999):03} {level} [http-nio-8080-exec-{r.randrange(20)}] c.e.{r.choice(WORDS)}.Service - Request failed: java.lang.IllegalStateException: pool is closed"
    if r.random() < 0.4:
        yield f"2026-11-20 09:04:05,{r.randrange(999):03} WARN  [main] o.h.e.j.s.SqlExceptionHelper - SQL Error: 0, SQLState: 08001"


def python_logging(r: random.Random) -> Iterator[str]:
    yield f"2026-11-20 09:04:05,{r.randrange(999):03} {r.choice(['INFO', 'ERROR', 'WARNING'])} app.{r.choice(WORDS)} Unhandled exception: ValueError: {r.choice(WORDS)}"
    yield f"{r.choice(['INFO', 'ERROR', 'WARNING'])}:root:Traceback of {r.choice(WORDS)} was sent"
    yield f"ValueError: bad {r.choice(WORDS)}"


def go_log(r: random.Random) -> Iterator[str]:
    yield f"2026/11/20 09:04:05 http: TLS handshake error from 10.0.0.{r.randrange(255)}:5123: EOF"
    yield f"2026/11/20 09:04:05 recovered from panic: {r.choice(WORDS)}"
    yield f'time="2026-11-20T09:04:05Z" level=error msg="{r.choice(WORDS)} failed" error="rpc error: code = Unavailable"'


def yaml_dump(r: random.Random) -> Iterator[str]:
    yield f"Error: values do not match the schema of {r.choice(WORDS)}:"
    yield "apiVersion: v1"
    yield "kind: ConfigMap"
    yield "metadata:"
    yield f"  name: {r.choice(WORDS)}"
    yield "  labels:"
    yield "    app: web"
    yield "    at: home"
    yield "data:"
    yield "  - from: /a"
    yield "    file: \"x.rb\""
    yield ""


def table(r: random.Random) -> Iterator[str]:
    yield "+----+----------------+-------+"
    yield "| id | name           | state |"
    yield "+----+----------------+-------+"
    for _ in range(r.randrange(1, 5)):
        yield f"| {r.randrange(10, 99)} | {r.choice(WORDS):<14} | ok    |"
    yield "+----+----------------+-------+"
    yield ""


def rails(r: random.Random) -> Iterator[str]:
    yield f'Started GET "{r.choice(PATHS)}" for 10.0.0.{r.randrange(255)} at 2026-11-20 09:04:05 +0000'
    yield "Processing by UsersController#show as HTML"
    yield f'  Parameters: {{"id"=>"{r.randrange(99)}"}}'
    yield '  User Load (0.4ms)  SELECT "users".* FROM "users" WHERE "users"."id" = $1 LIMIT $2'
    yield "  ↳ app/controllers/users_controller.rb:12:in `show'"
    yield "  Rendered users/show.html.erb within layouts/application (Duration: 1.1ms | Allocations: 213)"
    yield "Completed 500 Internal Server Error in 12ms (ActiveRecord: 0.4ms | Allocations: 999)"
    yield "  "
    yield ""


def systemd(r: random.Random) -> Iterator[str]:
    yield f"Nov 20 09:04:05 n1 systemd[1]: {r.choice(WORDS)}.service: Main process exited, code=exited, status=1/FAILURE"
    yield f"Nov 20 09:04:05 n1 systemd[1]: {r.choice(WORDS)}.service: Failed with result 'exit-code'."
    yield "kubelet.service: Scheduled restart job, restart counter is at 5."


def kernel(r: random.Random) -> Iterator[str]:
    yield f"[{r.randrange(99999)}.123456] Out of memory: Killed process {r.randrange(9999)} (java) total-vm:1234kB"
    yield f"[{r.randrange(99999)}.123456] Call Trace:"
    yield f"[{r.randrange(99999)}.123457]  <TASK>"
    yield f"[{r.randrange(99999)}.123458]  dump_stack_lvl+0x46/0x5a"
    yield f"[{r.randrange(99999)}.123459]  ? do_syscall_64+0x3b/0x90"


def npm(r: random.Random) -> Iterator[str]:
    yield f"npm ERR! code E{r.randrange(400, 500)}"
    yield "npm ERR! Error: getaddrinfo ENOTFOUND registry.example.com"
    yield "npm ERR!     at GetAddrInfoReqWrap.onlookup (dns.js:66:26)"
    yield f"added {r.randrange(999)} packages in 12s"
    yield ""
    yield "> app@1.0.0 start"
    yield "> node index.js"
    yield ""


def talk_of_at(r: random.Random) -> Iterator[str]:
    yield f"Error rate of {r.choice(WORDS)} is {r.random():.3f}"
    yield f"    at {r.randrange(24):02}:{r.randrange(60):02}:{r.randrange(60):02} the {r.choice(WORDS)} job began"
    yield f"  at least {r.randrange(9)} items (of {r.randrange(99)})"
    yield f"   at the end of {r.choice(WORDS)}: done"
    yield f"at com.example: nothing {r.choice(WORDS)}"
    yield f"\tat night {r.choice(WORDS)} (see https://example.com/x)"


def hashes(r: random.Random) -> Iterator[str]:
    yield f"# {r.choice(WORDS)} Error list"
    yield f"#1 {r.choice(WORDS)} is late"
    yield f"#2  {r.choice(WORDS)} (twice)"
    yield f"Step {r.randrange(9)}/9 : RUN make"
    yield f"#{r.randrange(20)} [build {r.randrange(9)}/9] RUN pip install -r requirements.txt"
    yield f"#{r.randrange(20)} 0.412 Collecting {r.choice(WORDS)}"


def sql(r: random.Random) -> Iterator[str]:
    yield f"com.example.{r.choice(WORDS)}: query took {r.randrange(999)} ms"
    yield "Hibernate: "
    yield "    select"
    yield "        u.id,"
    yield "        u.name"
    yield "    from"
    yield "        users u "
    yield "    where"
    yield "        u.id=?"


def words_of_traces(r: random.Random) -> Iterator[str]:
    yield f"panic: {r.choice(WORDS)} is only the title of this film"
    yield "Stack trace: none was recorded"
    yield f"goroutine count is {r.randrange(999)}"
    yield f"Caused by {r.choice(WORDS)}, they say"
    yield "... 12 more items"
    yield "thread 'main' is asleep"
    yield "note: see the manual"
    yield "--- End of report ---"
    yield "Next RuntimeException comes at noon"
    yield "from app.rb to main.rb"
    yield "  from: alice"
    yield "[signal lost]"
    yield "  ... 3 levels deep"
    yield f"Unhandled exception: {r.choice(WORDS)}"
    yield f"Exception: {r.choice(WORDS)}"
    yield ""
    yield f"Throwable {r.choice(WORDS)}"


def diff(r: random.Random) -> Iterator[str]:
    yield f"--- a/{r.choice(WORDS)}.rb"
    yield f"+++ b/{r.choice(WORDS)}.rb"
    yield "@@ -1,3 +1,4 @@"
    yield " class Error < StandardError"
    yield "+  def at (x)"
    yield "-  end"
    yield f"{r.choice(WORDS)}.rb:{r.randrange(99)}: warning: unused variable"


PROGRAMS: tuple[Program, ...] = (
    nginx, postgres, klog, json_lines, log4j, python_logging, go_log, yaml_dump, table, rails, systemd, kernel, npm, talk_of_at,
    hashes, sql, words_of_traces, diff,
)

EVERYDAY: tuple[Program, ...] = tuple(program for program in PROGRAMS if program not in (talk_of_at, words_of_traces))
"""Those that were not written to be taken for traces."""


def alone(count: int, program: Program, seed: int = 1) -> list[bytes]:
    """`count` lines of one program."""
    r = random.Random(seed)
    out: list[bytes] = []
    while len(out) < count:
        out += [line.encode() for line in program(r)]
    return out


def mixed(count: int, seed: int = 2, programs: tuple[Program, ...] = PROGRAMS) -> list[bytes]:
    """`count` lines, programs in turns, a stretch each, and now and then cut in the middle."""
    r = random.Random(seed)
    out: list[bytes] = []
    while len(out) < count:
        stretch = [line.encode() for line in r.choice(programs)(r)]
        out += stretch if r.random() < 0.8 else stretch[r.randrange(len(stretch)) :]
    return out


def shuffled(count: int, seed: int = 3) -> list[bytes]:
    """`count` lines in any order: each may stand behind any other."""
    out = mixed(count, seed)
    random.Random(seed).shuffle(out)
    return out
