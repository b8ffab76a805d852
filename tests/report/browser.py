"""A browser without a window, driven by the W3C WebDriver protocol: as much of it as the tests of the page need."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

_LIMIT = 60.0  # seconds for any one answer
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # W3C WebDriver, 11: the key of a reference to an element
#: W3C WebDriver, 17.4.2
KEYS = {
    "Tab": "\ue004", "Enter": "\ue007", "Shift": "\ue008", "Escape": "\ue00c", "End": "\ue010", "Home": "\ue011",
    "ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015",
}  # fmt: skip
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-default-apps", "--disable-extensions",
    "--hide-scrollbars", "--disable-dev-shm-usage", "--password-store=basic", "--force-color-profile=srgb",
)  # fmt: skip


def missing() -> str:
    """What there is not, of what the tests need; "" where all is here."""
    absent = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    return f"no {' and no '.join(absent)} here" if absent else ""


class Browser:
    """One chromium with a profile of its own. Use as a context manager: nothing is left behind."""

    def __init__(self, width: int = 1400, height: int = 900, dark: bool = False) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="extension-kit-browser-"))
        self._port = _free_port()
        # The driver, its browser and that one's children are one group, which is ended as one.
        self._driver = subprocess.Popen(
            ["chromedriver", f"--port={self._port}", "--allowed-ips=127.0.0.1"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            env={**os.environ, "HOME": str(self._folder), "XDG_CONFIG_HOME": str(self._folder)},
        )  # fmt: skip
        try:
            self._await_driver()
            self._session = self._start(width, height)
            self.cdp(
                "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
            )
            self.prefer(dark=dark)
        except BaseException:
            self.close()
            raise

    def _await_driver(self) -> None:
        until = time.monotonic() + _LIMIT
        while True:
            try:
                self._call("GET", "/status")
                return
            except OSError:
                assert self._driver.poll() is None, "chromedriver has ended"
                assert time.monotonic() < until, "chromedriver does not answer"
                time.sleep(0.05)

    def _start(self, width: int, height: int) -> str:
        arguments = [*_QUIET, f"--user-data-dir={self._folder / 'profile'}", f"--window-size={width},{height}"]
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": {"binary": shutil.which("chromium"), "args": arguments},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        session: str = self._call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        return session

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_LIMIT)
        try:
            sent = json.dumps(body).encode() if body is not None else None
            connection.request(method, path, sent, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            connection.close()
        assert answer.status == 200, f"{method} {path}: {value}"
        return value

    def _do(self, method: str, path: str, body: Any = None) -> Any:
        return self._call(method, f"/session/{self._session}{path}", body)

    # what a person does

    def open(self, path: Path) -> None:
        """Open a file, as a double click does."""
        self.requests(), self.complaints()  # what the page before this one has done is not this one's
        self._do("POST", "/url", {"url": path.as_uri()})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value of a piece of JavaScript with a `return`."""
        return self._do("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def text(self, selector: str) -> str:
        """What is to be read in an element."""
        return str(self.run("return document.querySelector(arguments[0]).innerText", selector))

    def texts(self, selector: str) -> list[str]:
        """What is to be read in every element of a kind."""
        found: list[str] = self.run(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.innerText)", selector
        )
        return found

    def click(self, selector: str) -> None:
        """A click in the middle of an element."""
        found = self._do("POST", "/element", {"using": "css selector", "value": selector})
        self._do("POST", f"/element/{found[_ELEMENT]}/click", {})

    def press(self, *keys: str, shift: bool = False) -> None:
        """Keys, by their names or as they are typed, to whatever has the focus."""
        actions = [{"type": kind, "value": KEYS.get(key, key)} for key in keys for kind in ("keyDown", "keyUp")]
        if shift:
            held = {"value": KEYS["Shift"]}
            actions = [{"type": "keyDown", **held}, *actions, {"type": "keyUp", **held}]
        self._do("POST", "/actions", {"actions": [{"type": "key", "id": "keys", "actions": actions}]})

    def pointer(self, *steps: dict[str, Any]) -> None:
        """Steps of a mouse: `move`, `down`, `up`."""
        self._do("POST", "/actions", {"actions": [{"type": "pointer", "id": "mouse", "actions": list(steps)}]})

    def wheel(self, x: float, y: float, delta: int) -> None:
        """The wheel, where the mouse is at these places of the window."""
        turn = {"type": "scroll", "x": round(x), "y": round(y), "deltaX": 0, "deltaY": delta, "duration": 0}
        self._do("POST", "/actions", {"actions": [{"type": "wheel", "id": "wheel", "actions": [turn]}]})

    def prefer(self, *, dark: bool, calm: bool = False) -> None:
        """What the system says about colours and motion."""
        features = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if calm else "no-preference"},
        ]
        self.cdp("Emulation.setEmulatedMedia", features=features)

    # what can be seen from outside

    def cdp(self, command: str, **parameters: Any) -> Any:
        """A command of Chromium's own protocol."""
        return self._do("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def complaints(self) -> list[str]:
        """What has been written to the console since the last time: errors, warnings, anything."""
        return [entry["message"] for entry in self._do("POST", "/se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """The addresses that have been asked for since the last time, whether they were answered or not."""
        entries = self._do("POST", "/se/log", {"type": "performance"})
        events = [json.loads(entry["message"])["message"] for entry in entries]
        return [one["params"]["request"]["url"] for one in events if one["method"] == "Network.requestWillBeSent"]

    def wait(self, script: str, *arguments: Any) -> Any:
        """Until a piece of JavaScript gives something that is true; AssertionError after a minute."""
        until = time.monotonic() + _LIMIT
        while not (value := self.run(script, *arguments)):
            assert time.monotonic() < until, f"it did not happen: {script}"
            time.sleep(0.02)
        return value

    def settle(self) -> None:
        """Until what moves has come to rest."""
        calm = "const c = document.querySelector('#chart').dataset; return `${c.from} ${c.to} ${c.chosen}`"
        seen, same = self.run(calm), 0
        until = time.monotonic() + _LIMIT
        while same < 4 and time.monotonic() < until:
            time.sleep(0.06)
            now = self.run(calm)
            same, seen = (same + 1 if now == seen else 0), now

    def screenshot(self, path: Path, *, whole: bool = False) -> None:
        """A picture of the window, or of all that there is to scroll."""
        options: dict[str, Any] = {"format": "png"}
        if whole:
            width, height = self.run("const e = document.documentElement; return [e.clientWidth, e.scrollHeight]")
            clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
            options |= {"captureBeyondViewport": True, "clip": clip}
        path.write_bytes(base64.b64decode(self.cdp("Page.captureScreenshot", **options)["data"]))

    def close(self) -> None:
        """End the browser and the driver."""
        try:
            if hasattr(self, "_session"):
                self._do("DELETE", "")
        except (OSError, AssertionError):
            pass  # it has gone already
        finally:
            try:
                os.killpg(self._driver.pid, 9)
            except ProcessLookupError:
                pass
            self._driver.wait(10)
            shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def move(x: float, y: float) -> dict[str, Any]:
    """The mouse goes to a place of the window."""
    return {"type": "pointerMove", "duration": 0, "x": round(x), "y": round(y)}


DOWN = {"type": "pointerDown", "button": 0}
UP = {"type": "pointerUp", "button": 0}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
