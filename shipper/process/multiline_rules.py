"""Which lines are a stack trace: an automaton over lines as a table, and what finds the lines near which to look. Pure: data.
Hot (multiline_machines.Traces): FIND once per batch; the table only for lines near something that looks like a trace.

    START ──a line that may begin one──► state ──line──► state ──► ...
                                           │ no rule fits: the trace ended in front of this line

A rule is (pattern, next state, CONFIRM or MAYBE); the pattern matches at the line's beginning, a tuple is texts of which one
stands anywhere. What a CONFIRM line ends belongs together, with all lines since the first one; MAYBE lines (blank ones between
goroutines, say) belong to it only if a CONFIRM line follows. A first line alone is an ordinary record.

Invariants (tests/process/test_multiline.py, test_multiline_ordinary.py):
  T1  a rule looks at its line alone, so the state is a function of the lines since the first one (multiline_machines.MM1)
  T2  between a first line and its first CONFIRM line stand fewer than LOOK_BACK lines, and one of the two is found by FIND
  T3  a line costs at most a constant: rules see its first LOOK_BYTES, FIND gives up a line after a bounded or linear look (P10)
Source: the programs' own output; line shapes that fluent-plugin-detect-exceptions knows are all known here.
"""
from __future__ import annotations

import re

LOOK_BYTES = 1024
LOOK_BACK = 7
MAX_MAYBE_BYTES = 4096
CONFIRM, MAYBE = True, False
END = "end"
"""Nothing can follow: the record is whole with this line."""

# ---------------------------------------------------------------- line shapes

_FRAME = (
    rb"[ \t]+at (?:"
    rb"[^\s()]*\.[^\s()]*\(.*"                                        # Java, C#: a.b.C.d(
    rb"|[^\s(]*\.[^\s(\[]*\[[^\]()]*\]\(.*"                           # C#: N.C.M[T, U](
    rb"|.{1,400}?:\d+:\d+\)?(?:,? \{)?$"                              # JavaScript: f (/a.js:1:2)
    rb"|.{1,200}? \((?:<anonymous>|native|native code|index \d+|eval at .*)\)(?: \{)?$|<anonymous>(?: \{)?$"
    rb"|.{1,200}? (?:<[0-9a-f]+ \+ 0x[0-9a-f]+>|\[0x[0-9a-f]+\] in ).*"  # Mono
    rb")"
)
_CAUSE = rb"[ \t]*(?:Caused by|Suppressed|Wrapped by|Root cause):(?: |$)|[ \t]*nested exception is:[ \t]*$"
_MORE = rb"[ \t]+\.\.\. \d+ (?:more|common frames omitted)[ \t]*$"
_NET = rb" *---> (?:\(Inner Exception|[\w.]+)| *--- End of (?:inner exception|(?:inner exception )?stack trace)"
_HEADER = (b"Exception", b"Error", b"Throwable", b"Failure", b"Fault", b"V8 errors stack trace")
_CLASS = rb"(?:[A-Za-z_$][\w$]*\.)+[\w$]+(?::|$)"
_RUBY = (
    rb"[ \t]*(?:\d+: )?(?:from )?(?:[^\s:]+\.(?:rb|ru|rake|erb|haml|slim)|<internal:[^>]*>|\(\w+\)|[^\s:/]*/[^\s:]+)"
    rb":\d+:in [`'\x22]"
)
_PY_FILE = rb"[ \t]+File \""
_PY_HEAD = (b"Traceback (most recent call last):",)
_PY_GROUP = rb"[ \t]*\+ Exception Group Traceback \(most recent call last\):"
_PY_CHAIN = (
    rb"During handling of the above exception, another exception occurred:"
    rb"|The above exception was the direct cause of the following exception:"
)
_PY_LAST = (
    rb"(?:[^\s.():\d][^\s.():]*\.)*(?!(?:TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\b)"
    rb"(?:[A-Za-z_]\w*:|[A-Z]\w*[a-z]\w*$)"
)
_GOROUTINE = rb"goroutine \d+ (?:gp=\S+ )?(?:m=\S+ )?(?:mp=\S+ )?\[[^\]]+\]:|runtime stack:$"
_NOTE = rb"note: (?:run with|Some details)"
_HASH = rb"#\d+ "
_PHP_FRAME = rb"#\d+ (?:/[^\s(]*\(\d+\): |\[internal function\]|\{main\})"
_DART_FRAME = rb"#\d+ {2,}\S.* \((?:package|dart|file):"
_BLANK = rb"[ \t]*$"
_ANY = rb".*\S"
_PANIC = (b"panic: ", b"fatal error: ", b"panic serving ")

# ---------------------------------------------------------------- the table

_JAVA = (
    (rb"[ \t]+at .*[ )]\{$", "object", CONFIRM),
    (_FRAME + rb"|" + _MORE, "frames", CONFIRM),
    (_CAUSE + rb"|" + _NET, "header", CONFIRM),
)
Pattern = bytes | tuple[bytes, ...]
_Rules = tuple[tuple[Pattern, str, bool], ...]
TABLE: dict[str, _Rules] = {
    "start": (
        (_PY_GROUP, "py-group", CONFIRM),
        (_PY_HEAD, "py", CONFIRM),
        (rb"[ \t]+File \"[^\"]+\", line \d+, in ", "py-file", CONFIRM),
        (_GOROUTINE, "go-call", CONFIRM),
        (_PANIC, "go", CONFIRM),
        (rb"SIG[A-Z]+: ", "go", CONFIRM),
        (rb"thread '[^']*'(?: \(\d+\))? panicked at .*:\d+:\d+:$", "rust-message", CONFIRM),
        (rb"thread '[^']*'(?: \(\d+\))? panicked at ", "rust", CONFIRM),
        (rb"Unhandled [Ee]xception:[ \t]*$", "dart", CONFIRM),
        ((b"Unhandled Exception: ",), "dart", CONFIRM),
        ((b"PHP Notice: ", b"PHP Warning: ", b"PHP Fatal error: ", b"PHP Parse error: ", b"PHP Deprecated: "), "header", CONFIRM),
        (_RUBY, "ruby", CONFIRM),
        (_FRAME, "frames", CONFIRM),
        (_CAUSE, "header", CONFIRM),
        (_PHP_FRAME, "php", CONFIRM),
        (_DART_FRAME, "dart-frames", CONFIRM),
        (rb"(?:(?:file://)?/[^\s:]*|node:[^\s:]*|[A-Z]:\\[^\s:]*):\d+$", "node-code", CONFIRM),
        (_HEADER, "header", CONFIRM),
        (_CLASS, "header", CONFIRM),
    ),
    # Java, JavaScript, C#, and what follows a line that names an exception in any other language.
    "header": (
        *_JAVA,
        (_RUBY, "ruby", CONFIRM),
        (rb"Stack trace:[ \t]*$|\[stacktrace\]|" + _PHP_FRAME, "php", CONFIRM),
        (rb"PHP Stack trace:", "php-xdebug", CONFIRM),
        (_DART_FRAME, "dart-frames", CONFIRM),
        (_BLANK, "header-blank", MAYBE),
    ),
    "header-blank": (
        *_JAVA,
        (_RUBY, "ruby", CONFIRM),
    ),
    "frames": (
        *_JAVA,
        (rb"[ \t]*\[CIRCULAR REFERENCE", "frames", CONFIRM),
        (_BLANK, "frames-blank", MAYBE),
    ),
    "frames-blank": (
        (rb"Node\.js v\d", END, CONFIRM),
    ),
    "object": (
        (rb"\}", "frames", CONFIRM),
        (rb"[ \t]+\S", "object", CONFIRM),
    ),
    "node-code": (
        (rb".*\S", "node-mark", MAYBE),
    ),
    "node-mark": (
        (rb"[ \t]*\^+", "node-blank", MAYBE),
        (_FRAME, "frames", CONFIRM),
    ),
    "node-blank": (
        (_BLANK, "node-header", MAYBE),
        (_HEADER, "header", MAYBE),
    ),
    "node-header": (
        (_HEADER, "header", MAYBE),
        (rb"\[\w+", "header", MAYBE),
    ),
    "py": (
        (_PY_FILE, "py-file", CONFIRM),
    ),
    "py-file": (
        (_PY_FILE + rb"|[ \t]+\S", "py-file", CONFIRM),
        (_PY_LAST, "py-last", CONFIRM),
    ),
    "py-last": (
        (_BLANK, "py-gap", MAYBE),
        (_PY_CHAIN, "py-chained", CONFIRM),
    ),
    "py-gap": (
        (_PY_CHAIN, "py-chained", CONFIRM),
    ),
    "py-chained": (
        (_BLANK, "py-chained-gap", MAYBE),
        (_PY_GROUP, "py-group", CONFIRM),
        (_PY_HEAD, "py", CONFIRM),
    ),
    "py-chained-gap": (
        (_PY_GROUP, "py-group", CONFIRM),
        (_PY_HEAD, "py", CONFIRM),
    ),
    "py-group": (
        (rb"[ \t]*(?:\||\+-)", "py-group", CONFIRM),
        (_BLANK, "py-gap", MAYBE),
    ),
    "go": (
        (_GOROUTINE, "go-call", CONFIRM),
        (rb"\[signal (?:SIG|0x)|PC=0x|[ \t]*panic: |\[recovered", "go", CONFIRM),
        (_BLANK, "go-blank", MAYBE),
    ),
    "go-blank": (
        (_GOROUTINE, "go-call", CONFIRM),
    ),
    "go-call": (
        (rb"\.\.\.(?:additional|\d+) frames elided|\.\.\.additional frames", "go-call", CONFIRM),
        (_GOROUTINE, "go-call", CONFIRM),
        (rb"[\w.].*\)$|created by \S", "go-line", MAYBE),
        (_BLANK, "go-gap", MAYBE),
    ),
    "go-line": (
        (rb"[ \t]+\S.*:\d+(?: |$)", "go-call", CONFIRM),
    ),
    "go-gap": (
        (_GOROUTINE, "go-call", CONFIRM),
        (rb"[re][a-z0-9]{1,5} +0x[0-9a-f]+$", "go-registers", MAYBE),
    ),
    "go-registers": (
        (rb"[a-z][a-z0-9]{1,6} +0x[0-9a-f]+$", "go-registers", CONFIRM),
    ),
    "rust-message": (
        (_ANY, "rust", CONFIRM),
    ),
    "rust": (
        (_NOTE + rb"|[ \t]+(?:left|right): ", "rust", CONFIRM),
        (rb"stack backtrace:", "rust-frames", CONFIRM),
        (rb" +\d+: ", "rust-frames", CONFIRM),
    ),
    "rust-frames": (
        (rb" +\d+: | +at ", "rust-frames", CONFIRM),
        (_NOTE, END, CONFIRM),
    ),
    "ruby": (
        (_RUBY, "ruby", CONFIRM),
        (rb"[ \t]+\.\.\. \d+ levels\.\.\.", "ruby", CONFIRM),
        (_FRAME, "frames", CONFIRM),
    ),
    "php": (
        (_HASH, "php", CONFIRM),
        (rb"[ \t]+thrown in ", END, CONFIRM),
        (rb"\"\}", END, CONFIRM),
        (rb"Next [\w\\]+: ", "header", CONFIRM),
        (_BLANK, "php-gap", MAYBE),
    ),
    "php-gap": (
        (rb"Next [\w\\]+: ", "header", CONFIRM),
    ),
    "php-xdebug": (
        (rb"PHP +\d+\. ", "php-xdebug", CONFIRM),
    ),
    "dart": (
        (_DART_FRAME, "dart-frames", CONFIRM),
        (rb".*\S", "dart-message", MAYBE),
    ),
    "dart-message": (
        (_DART_FRAME, "dart-frames", CONFIRM),
        (rb"", "dart-message-2", MAYBE),
    ),
    "dart-message-2": (
        (_DART_FRAME, "dart-frames", CONFIRM),
        (rb"", "dart-message-3", MAYBE),
    ),
    "dart-message-3": (
        (_DART_FRAME, "dart-frames", CONFIRM),
        (rb"", "dart-message-4", MAYBE),
    ),
    "dart-message-4": (
        (_DART_FRAME, "dart-frames", CONFIRM),
    ),
    "dart-frames": (
        (_HASH, "dart-frames", CONFIRM),
        (rb"<asynchronous suspension>|=+ asynchronous gap", "dart-frames", CONFIRM),
    ),
    END: (),
}

_FOUND = (
    rb"[ \t]+(?:at [^\n]*[:(<\[]|File \"|\+ Exc|(?:Caused by|Suppressed|Wrapped by|Root cause):|nested exception is"
    rb"|\.\.\. \d+ (?:more|common)|--(?:->|- End of (?:inner|stack))|panic: )"
    rb"|--(?:->|- End of (?:inner|stack))|(?:Caused by|Suppressed|Wrapped by|Root cause):|nested exception is"
    rb"|\+ Exception Group|Traceback \(most"
    rb"|#\d+ (?:/|\[internal|\{main| +\S[^\n]*\((?:package|dart|file):)"
    rb"|Stack trace:[ \t]*(?:\n|\Z)|\[stacktrace\]|PHP |goroutine \d|runtime stack:"
    rb"|panic: |fatal error: |SIG[A-Z]+: |\[signal (?:SIG|0x)|PC=0x|\[recovered|thread '[^'\n]*'[^'\n]{0,24} panicked"
    rb"|Unhandled [Ee]xception:[ \t]*(?:\n|\Z)"
)
_FOUND_RUBY = rb"[ \t]*(?:\d+: )?(?:from )?(?:<internal:[^>\n]*>|[^\s:]+):\d+:in "
FIND = re.compile(rb"\n(?=[ \t\-CSWRn+T#\[PgrpftU])(?:" + _FOUND + rb")")
FIND_WITH_RUBY = re.compile(rb"\n(?:" + _FOUND + rb"|" + _FOUND_RUBY + rb")")
"""Ruby's frames may begin with any character, which costs 100 ns a line: looked for where ":in " is somewhere."""


def first_proofs() -> list[bytes]:
    """Patterns of the CONFIRM rules behind those first lines that FIND does not find, and behind MAYBE lines after them."""
    states = ["header", "go", "py", "dart", "node-code"]
    for state in states:
        states += [target for _, target, sure in TABLE[state] if not sure and target not in states]
    rules = [rule for state in dict.fromkeys(states) for rule in TABLE[state]]
    return [pattern for pattern, _, sure in rules if sure and isinstance(pattern, bytes) and pattern != _ANY]
