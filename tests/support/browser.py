"""A real Chromium without a window, driven over WebDriver: chromedriver's own HTTP, nothing between.

    with Browser(tmp_path) as browser:
        browser.open("http://127.0.0.1:3903/"); browser.script("return document.title"); browser.keys("\\ue004")

The browser has a profile of its own, its own traffic (updates, sync) is switched off, and no name resolves. `console()` is what
pages said there, `requests()` which URLs they asked for; `connected()` and `asked_by()` come from the browser's own net log,
after its end.
"""
from __future__ import annotations

import base64
import contextlib
import http.client
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

from tests.support.agent import eventually

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-default-apps", "--disable-dev-shm-usage", "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",       # it would look for its maker's hosts
)
TAB, ENTER, BACKSPACE = "\ue004", "\ue007", "\ue003"
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"


class Browser:
    """One session of one window."""

    def __init__(self, root: Path) -> None:
        if CHROMIUM is None or DRIVER is None:
            raise AssertionError("chromium and chromium-driver are missing: sh tests/support/need_chromium.sh")
        self.netlog = root / "netlog.json"
        log = root / "chromedriver.log"
        with log.open("wb") as out:
            self._driver = subprocess.Popen([DRIVER, "--port=0"], stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        self._session = ""
        try:
            listens = re.compile(r"successfully on port (\d+)")
            found = eventually("chromedriver listens", lambda: listens.search(log.read_text()), 20, log.read_text)
            assert found is not None
            self._port = int(found[1])
            self._session = self._begin(root)
        except BaseException:
            self.close()
            raise

    def _begin(self, root: Path) -> str:
        chrome = {"binary": CHROMIUM, "args": [*FLAGS, f"--user-data-dir={root}/profile", f"--log-net-log={self.netlog}"]}
        wanted = {"browserName": "chrome", "goog:chromeOptions": chrome,
                  "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"}}
        session: str = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        return session

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the browser; the net log is whole then."""
        if self._session:
            with contextlib.suppress(OSError, AssertionError):      # it is ended below in any case
                self._call("DELETE", f"/session/{self._session}")
            self._session = ""
        self._driver.terminate()
        try:
            self._driver.wait(10)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            connection.request(method, path, json.dumps(body) if method == "POST" else None, {"Content-Type": "application/json"})
            answer = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        assert not (isinstance(answer, dict) and "error" in answer), f"{path}: {answer}"
        return answer

    def _ask(self, path: str, **body: Any) -> Any:
        return self._call("POST", f"/session/{self._session}/{path}", body)

    # ---------------------------------------------------------------- what a person does

    def open(self, url: str) -> None:
        self._ask("url", url=url)

    def find(self, css: str) -> str:
        found: str = self._ask("element", using="css selector", value=css)[_ELEMENT]
        return found

    def click(self, css: str) -> None:
        self._ask(f"element/{self.find(css)}/click")

    def type(self, css: str, text: str) -> None:
        self._ask(f"element/{self.find(css)}/value", text=text)

    def keys(self, *keys: str) -> None:
        """Press these, one after the other, wherever the focus is."""
        pressed = [{"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]
        self._ask("actions", actions=[{"type": "key", "id": "keyboard", "actions": pressed}])

    # ---------------------------------------------------------------- what the page is

    def script(self, body: str, *arguments: Any) -> Any:
        """What the body of a function gives."""
        return self._ask("execute/sync", script=body, args=list(arguments))

    def waiting_script(self, body: str, *arguments: Any) -> Any:
        """What is given to the last argument, a function."""
        return self._ask("execute/async", script=body, args=list(arguments))

    def until(self, what: str, condition: str, *arguments: Any, within_s: float = 10.0) -> Any:
        """The value of this expression as soon as it is true."""
        return eventually(what, lambda: self.script(f"return ({condition})", *arguments), within_s,
                          lambda: str(self.script("return document.body.innerText"))[:3000])

    # ---------------------------------------------------------------- the machine around it

    def devtools(self, command: str, **parameters: Any) -> Any:
        return self._ask("goog/cdp/execute", cmd=command, params=parameters)

    def size(self, width: int, height: int, scale: float = 1.0, phone: bool = False) -> None:
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone)

    def prefers(self, **features: str) -> None:
        """Media features: prefers(color_scheme="dark", reduced_motion="reduce")."""
        self.devtools("Emulation.setEmulatedMedia", features=[
            {"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()])

    def picture(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.devtools("Page.captureScreenshot", format="png")["data"]))

    def console(self) -> list[str]:
        """What pages and the browser said there since the last call."""
        return [f"{line['level']} {line['message']}" for line in self._ask("se/log", type="browser")]

    def connected(self) -> set[str]:
        """Where TCP connections went and datagrams were sent, without the ports. After `close`. (Chromium connects a UDP
        socket to learn whether there is a way out over IPv6, and sends nothing on it.)"""
        found = self._net_events("TCP_CONNECT_ATTEMPT", "UDP_BYTES_SENT")
        return {each["address"].rpartition(":")[0] for each in found if "address" in each}

    def asked_by(self, origin: str) -> set[str]:
        """URLs that documents of this origin asked for. After `close`."""
        return {each["url"] for each in self._net_events("URL_REQUEST_START_JOB") if each.get("initiator") == origin}

    def _net_events(self, *kinds: str) -> list[dict[str, Any]]:
        log = json.loads(self.netlog.read_text())
        numbers = {log["constants"]["logEventTypes"][kind] for kind in kinds}
        return [each["params"] for each in log["events"] if each["type"] in numbers and "params" in each]

    def requests(self) -> list[str]:
        """The URLs that pages asked for since the last call."""
        events = [json.loads(line["message"])["message"] for line in self._ask("se/log", type="performance")]
        urls = [each["params"]["request"]["url"] for each in events if each["method"] == "Network.requestWillBeSent"]
        return [url for url in urls if not url.startswith(("chrome", "data:"))]      # what its own first tab is made of

