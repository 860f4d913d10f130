"""A headless Chromium that a test steers over a pipe (the DevTools protocol); it listens on no port and is told of no network."""
import contextlib
import json
import os
import select
import subprocess
import tempfile
import time

from programs import PATIENCE_SECONDS


class Browser:
    """One tab. Keeps what the page asks for in `requests` and what it complains about in `complaints`. A context manager."""

    def __init__(self):
        self.profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        read_here, write_there = os.pipe()
        read_there, write_here = os.pipe()
        # Chromium reads commands from descriptor 3 and writes replies to 4.
        self.process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{read_there} 4>&{write_there}', "chromium", "chromium",
             "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
             "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--host-resolver-rules=MAP * ~NOTFOUND",
             f"--user-data-dir={self.profile.name}", "--remote-debugging-pipe", "about:blank"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, pass_fds=(read_there, write_there))
        os.close(read_there)
        os.close(write_there)
        self.out, self.inbox, self.rest, self.number = write_here, read_here, b"", 0
        self.requests, self.complaints, self.loaded, self.session = [], [], 0, None
        target = next(t for t in self.call("Target.getTargets")["targetInfos"] if t["type"] == "page")
        self.session = self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method, **parameters):
        """The command's result. Events that come before it are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while True:
            reply = self.read()
            if reply.get("id") == self.number:
                if "error" in reply:
                    raise AssertionError(f"{method}: {reply['error']}")
                return reply["result"]

    def read(self):
        end = time.monotonic() + PATIENCE_SECONDS
        while b"\0" not in self.rest:
            ready, _, _ = select.select([self.inbox], [], [], max(0, end - time.monotonic()))
            some = os.read(self.inbox, 1 << 20) if ready else b""
            if not some:
                raise AssertionError("Chromium does not answer" if not ready else "Chromium is gone")
            self.rest += some
        message, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(message)
        method, parameters = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.complaints.append(parameters)
        elif method == "Page.loadEventFired":
            self.loaded += 1
        return message

    def open(self, path, width=1280, height=1600, dark=False):
        """Shows a file, and returns when all its scripts ran."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
        before = self.loaded
        self.call("Page.navigate", url=f"file://{path}")
        while self.loaded == before:
            self.read()

    def evaluate(self, expression):
        """The value of a JavaScript expression in the page."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise AssertionError(f"{expression}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def colours(self, selector):
        """How many pixels of each colour "r,g,b" the page shows where the selector's first element is."""
        box = self.evaluate(f"(() => {{ const box = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
                            " return {x: box.x + scrollX, y: box.y + scrollY, width: box.width, height: box.height}; })()")
        png = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True, clip={**box, "scale": 1})["data"]
        return self.evaluate("""(async () => {
          const image = new Image();
          image.src = "data:image/png;base64,%s";
          await image.decode();
          const canvas = document.createElement("canvas");
          canvas.width = image.width;
          canvas.height = image.height;
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const bytes = context.getImageData(0, 0, image.width, image.height).data, counts = {};
          for (let i = 0; i < bytes.length; i += 4) {
            const colour = `${bytes[i]},${bytes[i + 1]},${bytes[i + 2]}`;
            counts[colour] = (counts[colour] || 0) + 1;
          }
          return counts;
        })()""" % png)

    def drag(self, from_x, to_x, y):
        self.mouse("mousePressed", from_x, y)
        self.mouse("mouseMoved", to_x, y)
        self.mouse("mouseReleased", to_x, y)

    def mouse(self, kind, x, y):
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="none" if kind == "mouseMoved" else "left",
                  buttons=0 if kind == "mouseReleased" else 1, clickCount=0 if kind == "mouseMoved" else 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError, AssertionError):
            self.session = None
            self.call("Browser.close")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)
        os.close(self.out)
        os.close(self.inbox)
        self.profile.cleanup()
