"""A headless Chromium, spoken to over its debugging pipe: nothing beyond Python is needed.

    with Browser() as browser:
        page = browser.open(path, width=390, dark=True)
        page.value("document.title"); page.screenshot(file); page.console; page.requests
"""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


def executable():
    """The browser, or None where there is none."""
    named = os.environ.get("GSPLIT_BROWSER")
    return named or next((found for found in map(shutil.which, NAMES) if found), None)


class Browser:
    """One browser process with a profile of its own, ended and removed at the end."""

    def __enter__(self):
        self.profile = tempfile.mkdtemp(prefix="gsplit-browser-")
        to_browser, self.requests_end = os.pipe()
        self.answers_end, from_browser = os.pipe()
        # The browser reads from its file descriptor 3 and writes to 4.
        script = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        self.process = subprocess.Popen(
            ["bash", "-c", script, executable(), "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "--disable-extensions",
             f"--user-data-dir={self.profile}", "--remote-debugging-pipe", "about:blank"],
            pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_browser)
        os.close(from_browser)
        self.buffer, self.number, self.events = b"", 0, []
        return self

    def __exit__(self, *_):
        try:
            self.call("Browser.close")
        except (OSError, EOFError):
            pass
        for end in (self.requests_end, self.answers_end):
            os.close(end)
        try:
            self.process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.profile, ignore_errors=True)

    def receive(self):
        """The next message of the browser."""
        while b"\0" not in self.buffer:
            piece = os.read(self.answers_end, 1 << 20)
            if not piece:
                raise EOFError("the browser has ended")
            self.buffer += piece
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def call(self, method, session=None, **parameters):
        """One command's result; what the browser tells meanwhile is kept in `events`."""
        self.number += 1
        command = {"id": self.number, "method": method, "params": parameters}
        if session:
            command["sessionId"] = session
        os.write(self.requests_end, json.dumps(command).encode() + b"\0")
        while True:
            message = self.receive()
            if message.get("id") == self.number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def open(self, path, width=1280, height=900, dark=False, scale=1, scripts=True):
        """A page of a file, once it is loaded."""
        return Page(self, pathlib.Path(path).resolve().as_uri(), width, height, dark, scale, scripts)


class Page:
    """A loaded page with what it has said and asked for."""

    def __init__(self, browser, url, width, height, dark, scale, scripts):
        self.browser = browser
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(domain + ".enable")
        self.width, self.height, self.scale = width, height, scale
        self.resize(width, height)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        if not scripts:
            self.call("Emulation.setScriptExecutionDisabled", value=True)
        self.call("Page.navigate", url=url)
        self.wait_for("Page.loadEventFired")
        time.sleep(0.1)  # observers of sizes have their turn after the load

    def call(self, method, **parameters):
        return self.browser.call(method, self.session, **parameters)

    def wait_for(self, name):
        while not any(e.get("method") == name and e.get("sessionId") == self.session for e in self.browser.events):
            self.browser.events.append(self.browser.receive())

    def resize(self, width, height):
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=self.scale, mobile=width < 600)

    def value(self, expression):
        """What JavaScript makes of an expression, as Python."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(result["exceptionDetails"])
        return result["result"].get("value")

    def _told(self, *methods):
        self.value("0")  # what was told before is here now
        return [e["params"] for e in self.browser.events if e.get("sessionId") == self.session and e.get("method") in methods]

    def console(self):
        """What went wrong or was said on the console."""
        return [json.dumps(told) for told in self._told("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")]

    def requests(self):
        """Addresses that were asked for."""
        return [told["request"]["url"] for told in self._told("Network.requestWillBeSent")]

    def move_to(self, x, y):
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, file, whole=True):
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        height = size["height"] if whole else self.height
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True,
                         clip={"x": 0, "y": 0, "width": self.width, "height": height, "scale": 1})["data"]
        pathlib.Path(file).write_bytes(base64.b64decode(data))
