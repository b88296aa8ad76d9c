"""The page at / of the real agent in a real Chromium: one agent with 5,000 files, one browser, all that a person does there.

After each test: nothing stood in the browser's console, and nothing was asked of another host (also by its net log, at the end).
"""
from __future__ import annotations

import http.client
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from tests.support.agent import Agent
from tests.support.browser import ENTER, TAB, Browser
from tests.support.ports import kept_port

MANY = 5000
HOSTILE = "<img src=x onerror=alert(1)>\u202egol.exe.log"
LOOKED_AT = "document.dispatchEvent(new Event('visibilitychange'))"           # as if the tab was looked at again: it asks at once
SECRET = "a-record-that-nobody-may-see"
AXE = (resources.files("axe_core_python") / "axe.min.js").read_text()


@dataclass
class Page:
    """The agent, its port, and the browser that looks at it."""

    agent: Agent
    port: int
    browser: Browser = field(init=False)

    def configure(self, *, many: str = "many/*.log", **sinks: Any) -> None:
        agent = self.agent
        patterns = {"host": "*.log", "many": many, "nothing": "none/*"}
        sources = {name: agent.files_source(pattern) for name, pattern in patterns.items()}
        sinks = {"archive": agent.file_sink(), **sinks}
        agent.configure(sinks=sinks, sources=sources, admin={"listen": f"127.0.0.1:{self.port}"})

    def write(self, lines: int) -> None:
        with (self.agent.logs / "busy.log").open("ab") as log:
            log.write(f"{SECRET}\n".encode() * lines)

    def get(self, path: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    root: Path = tmp_path_factory.mktemp("page")
    agent = Agent(root)
    (agent.logs / "many").mkdir()
    for number in range(MANY):
        (agent.logs / "many" / f"pod-{number:04d}.log").write_bytes(b"one line\n")
    (agent.logs / HOSTILE).write_bytes(b"one line\n")
    (agent.logs / f"{'long-' * 40}.log").write_bytes(b"one line\n")
    page = Page(agent, kept_port())
    page.configure()
    page.write(1)
    try:
        agent.start(ready=False)                                 # both at once
        with Browser(root) as browser:
            page.browser = browser
            browser.requests()                                   # those of the browser's own first tab
            agent.event("started")                               # its log costs it nothing; /status of 5,000 files does
            yield page
    finally:
        agent.close()
    origin = f"http://127.0.0.1:{page.port}"
    assert browser.connected() == {"127.0.0.1"}
    assert f"{origin}/page.css" in (asked := browser.asked_by(origin)) and all(url.startswith(f"{origin}/") for url in asked)


@pytest.fixture
def page(made: Page) -> Iterator[Page]:
    """On the page, wide and light, with the first answer shown."""
    browser = made.browser
    browser.prefers(color_scheme="light", reduced_motion="reduce")
    browser.size(1200, 900)
    browser.open(f"http://127.0.0.1:{made.port}/")
    browser.until("the first answer is shown", "document.querySelectorAll('#rows tr').length > 0")
    yield made
    assert browser.console() == []
    assert {url.split("?")[0] for url in browser.requests()} <= {
        f"http://127.0.0.1:{made.port}/{name}" for name in ("", "page.css", "page.js", "page_parts.js", "page.svg", "page.json")}


def cells(page: Page, body: str, name: str) -> list[str]:
    """The text of a row, by its header."""
    found: list[str] = page.browser.script(
        "const rows = [...document.getElementById(arguments[0]).rows];"
        "const row = rows.find((x) => x.cells[0].innerText.split(' ')[0] === arguments[1]);"
        "return row ? [...row.cells].map((x) => x.innerText) : []", body, name)
    return found


def test_all_is_well_and_the_figures_move_by_themselves(page: Page) -> None:
    browser = page.browser
    browser.until("all is well", "document.querySelector('#headline').innerText === 'All is well.'")
    assert browser.script("return document.title") == "All is well. n1 - shipper"
    page.write(2000)
    browser.until("the source's rate shows what is written",
                  "[...document.querySelectorAll('#sources tr')].some((x) => x.cells[0].innerText === 'host' && "
                  "/^[1-9][0-9.]* (B|KiB)\\/s/.test(x.cells[2].innerText))")
    assert cells(page, "sources", "host")[1] == "reading"
    browser.until("and the sink's", "/^[1-9][0-9.]* (B|KiB)\\/s/.test(document.querySelector('#sinks tr').cells[2].innerText)")
    assert cells(page, "sinks", "archive")[:2] == ["archive file", "ok"]
    assert cells(page, "sources", "nothing")[1] == "no files"
    assert "Source nothing has no files. Nothing matches its include (yet)." in browser.script("return findings.innerText")


class Drain(socketserver.BaseRequestHandler):
    """A receiver that takes what comes."""

    def handle(self) -> None:
        while self.request.recv(65536):
            pass


class Receiver(socketserver.ThreadingTCPServer):
    allow_reuse_address = True


@pytest.fixture(scope="module")
def receiver() -> Iterator[Callable[[int], None]]:
    """Starts a receiver on this port; it runs until the module's tests are over."""
    running: list[Receiver] = []

    def start(port: int) -> None:
        running.append(Receiver(("127.0.0.1", port), Drain))
        running[-1].daemon_threads = True
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_dead_sink_shows_with_its_error_at_the_top_and_all_is_well_when_it_is_mended(
    page: Page, receiver: Callable[[int], None],
) -> None:
    browser, port = page.browser, kept_port()
    page.configure(central=page.agent.syslog_sink(port))
    page.agent.process.send_signal(1)
    page.agent.event("degraded", about="sink:central")
    browser.script(LOOKED_AT)
    browser.until("it is the headline", "document.querySelector('#headline').innerText === 'Sink central does not get through.'")
    assert browser.script("return document.querySelector('#verdict').dataset.level") == "bad"
    assert browser.script("return document.title") == "Sink central does not get through. n1 - shipper"
    row = cells(page, "sinks", "central")
    assert row[1].startswith("retrying") and f"127.0.0.1:{port}" in row[5]
    assert "wait in the buffer" in browser.script("return findings.innerText")
    receiver(port)
    page.agent.event("recovered", about="sink:central")
    browser.script(LOOKED_AT)
    browser.until("all is well", "document.querySelector('#headline').innerText === 'All is well.'")
    assert cells(page, "sinks", "central")[1] == "ok"
    assert cells(page, "sinks", "central")[5].split("\n")[0].endswith("(over)")


def test_five_thousand_files_are_searched_and_turned_over(page: Page) -> None:
    browser = page.browser
    assert browser.script("return shown.innerText") == f"1 to 50 of {MANY + 3:,} files; the most unread first"
    assert browser.script("return document.querySelectorAll('*').length") < 1500
    browser.click("#next")
    browser.until("the second page", "shown.innerText.startsWith('51 to 100 of')")
    browser.type("#q", "POD-42")
    browser.until("what matches", "shown.innerText.startsWith('1 to 50 of 100 files that match')")
    shown = browser.script("return [...document.querySelectorAll('#rows th')].map((x) => x.innerText)")
    assert len(shown) == 50 and all("/many/pod-42" in path for path in shown)
    browser.type("#q", "7")
    browser.until("ten of them", "document.querySelectorAll('#rows tr').length === 10")
    browser.type("#q", "nowhere")
    browser.until("none", "shown.innerText.startsWith('0 files that match')")


def test_the_answer_stays_small_however_many_files_there_are(page: Page) -> None:
    found = page.get("/page.json?q=many&limit=100000")
    assert (len(found["files"]["rows"]), found["files"]["matched"], found["files"]["total"]) == (200, MANY, MANY + 3)
    assert len(json.dumps(page.get("/page.json"))) < 40_000


def test_names_of_files_are_text_and_records_are_not_there(page: Page) -> None:
    browser = page.browser
    browser.type("#q", "onerror")
    browser.until("the file is found", "document.querySelectorAll('#rows tr').length === 1")
    shown = browser.script("return document.querySelector('#rows th').innerText")
    assert shown.endswith("/<img src=x onerror=alert(1)>\\u202egol.exe.log")
    assert browser.script("return document.images.length") == 0
    assert SECRET not in browser.script("return document.documentElement.outerHTML")
    assert SECRET not in json.dumps(page.get("/page.json"))


def test_markup_and_scripts_of_others_are_refused_by_the_browser(page: Page) -> None:
    refused = page.browser.waiting_script(
        "const done = arguments[0], seen = [];"
        "document.addEventListener('securitypolicyviolation', (event) => seen.push(event.effectiveDirective));"
        "try { document.body.innerHTML = '<b>x</b>'; } catch (error) { seen.push(error.name); }"
        "try { document.body.setAttribute('onclick', 'alert(1)'); } catch (error) { seen.push(error.name); }"
        "fetch('http://127.0.0.2:9/').catch(() => setTimeout(() => done(seen), 50));")
    assert {"TypeError", "require-trusted-types-for", "connect-src"} <= set(refused)
    said = page.browser.console()
    assert said and all("Content Security Policy" in line or "Trusted" in line for line in said)


def test_the_keyboard_reaches_everything_in_order_and_the_focus_is_seen(page: Page) -> None:
    browser, reached = page.browser, []
    promises = browser.script("return [...document.querySelectorAll('summary')].map((x) => x.innerText)")
    for _ in range(10 + len(promises)):
        browser.keys(TAB)
        where, outline = browser.script(
            "const at = document.activeElement; return [at.id || at.innerText, getComputedStyle(at).outlineStyle]")
        assert outline == "solid", where
        reached.append(where)
    assert promises[0] == "What archive promises"
    assert reached == ["Go to the files", "pause", *promises, "q", "source", "state", "next",
                       "/status", "/metrics", "/healthz", "/readyz"]
    browser.script("document.querySelector('summary').focus()")
    browser.keys(ENTER)
    assert "fsync" in browser.until("the guarantee", "document.querySelector('details[open] dd').innerText").lower()
    browser.script("document.querySelector('.skip').focus()")
    browser.keys(ENTER)
    assert browser.script("return document.activeElement.id") == "files"


def test_a_pause_stops_the_asking_and_keeps_the_focus(page: Page) -> None:
    browser = page.browser
    browser.script("document.querySelector('#pause').focus()")
    browser.keys(ENTER)
    assert browser.script("return [pause.innerText, pause.ariaPressed, document.activeElement.id]") == ["Go on", "true", "pause"]
    browser.keys(ENTER)
    assert browser.script("return [pause.innerText, pause.ariaPressed]") == ["Pause", "false"]


@pytest.mark.parametrize("width", [360, 1200])
def test_nothing_is_wider_than_the_window(page: Page, width: int) -> None:
    page.browser.size(width, 800, phone=width < 500)
    page.browser.type("#q", "long-")
    page.browser.until("the long name is shown", "document.querySelectorAll('#rows tr').length === 1")
    assert page.browser.script("return document.documentElement.scrollWidth") == width


@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 360)])
def test_axe_finds_no_fault_of_contrast_names_or_structure(page: Page, scheme: str, width: int) -> None:
    page.browser.prefers(color_scheme=scheme)
    page.browser.size(width, 800, phone=width < 500)
    page.browser.script(AXE)
    found = page.browser.waiting_script(
        "axe.run().then((found) => arguments[0]({faults: found.violations.map((x) => [x.id, x.nodes.map((n) => n.html)]),"
        " passes: found.passes.map((x) => x.id)}))")
    assert found["faults"] == []
    assert {"color-contrast", "region", "label", "list", "svg-img-alt"} <= set(found["passes"])


def test_a_sparkline_draws_holes_as_holes_and_says_itself_in_words(page: Page) -> None:
    over, label, role = page.browser.waiting_script(
        "import('/page_parts.js').then((parts) => { const made = parts.spark();"
        "parts.drawSpark(made, [1024, null, 2048, 4096], 'Read of x', parts.rate, 10);"
        "arguments[0]([made.childNodes[2].getAttribute('d'), made.ariaLabel, made.getAttribute('role')]); })")
    assert over == "M86.5 14.8h.01M88.5 10.5L89.5 2.0"
    assert (label, role) == ("Read of x, last 1 min: now 4.0 KiB/s, lowest 1.0 KiB/s, highest 4.0 KiB/s", "img")


def test_nothing_moves_but_the_figures(page: Page) -> None:
    assert page.browser.script("return document.getAnimations().length") == 0
    assert page.browser.script("return getComputedStyle(document.documentElement).scrollBehavior") == "auto"


def test_an_agent_that_ends_is_said_and_one_that_is_back_too(page: Page) -> None:
    browser = page.browser
    page.agent.kill()
    browser.script(LOOKED_AT)
    browser.until("the silence is said", "document.querySelector('#headline').innerText.startsWith('The agent does not answer.')")
    assert browser.script("return document.querySelectorAll('#rows tr').length") == 50
    page.configure(many="many/pod-00*.log")                      # fewer to be opened again
    page.agent.start()
    browser.script(LOOKED_AT)
    browser.until("it is back", "document.querySelector('#headline').innerText === 'All is well.'")
    assert all("ERR_CONNECTION_REFUSED" in line for line in browser.console())
