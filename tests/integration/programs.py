"""What the integration tests share: the built programs, a small plant to learn, a running server.

Everything a test starts, it ends by its own process id; servers take free ports and say which.
"""
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ["ASTRAY_BUILD_DIR"])
ASTRAY = BUILD / "bin" / "astray"
ASTRAYD = BUILD / "bin" / "astrayd"
PATIENCE_SECONDS = 60  # for a loaded machine and sanitizers; nothing takes that long when it works

# Learns a pump in about a second: enough to tell its faults, far from the defaults' quality.
QUICK_RECIPE = """
features { window: 5 }
network { encoder: [ 32, 8 ] }
training { max_steps: 300 }
"""


def run(*arguments, check=True, **options):
    """Runs the command line; a failure shows what it printed."""
    done = subprocess.run([str(ASTRAY), *map(str, arguments)], stdin=options.pop("stdin", subprocess.DEVNULL),
                          capture_output=True, text=True, timeout=PATIENCE_SECONDS, **options)
    if check and done.returncode != 0:
        raise AssertionError(f"astray {' '.join(map(str, arguments))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def wait_for(condition, what):
    """Polls until `condition()` is true and returns its value."""
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.02)
    raise AssertionError(f"waited {PATIENCE_SECONDS} s for {what}")


def free_port():
    """A port that was free a moment ago, for programs that cannot pick one and say which."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def http(port, path):
    """Status and body of a GET on loopback; status 0 where nothing listens."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE_SECONDS) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError:
        return 0, ""


class Plant:
    """A simulated pump: normal.csv, faulty.csv and a detector trained on the first, in `folder`."""

    def __init__(self, folder, rows=2000):
        self.folder = pathlib.Path(folder)
        self.models = self.folder / "models"
        run("simulate", "--plant=pump", f"--rows={rows}", "--faults=seal_leak,sensor_stuck", f"--out-dir={folder}")
        self.normal, self.faulty = self.folder / "normal.csv", self.folder / "faulty.csv"
        recipe = self.folder / "quick.textproto"
        recipe.write_text(QUICK_RECIPE)
        self.train = ("train", f"--data={self.normal}", "--name=pump", f"--recipe={recipe}",
                      f"--model-base-path={self.models}")
        run(*self.train)


class Server:
    """astrayd on free ports, ready unless `ports` (gRPC, HTTP) are given. A context manager: leaving it ends the
    process."""

    def __init__(self, models, *flags, ports=None):
        self.folder = tempfile.TemporaryDirectory()
        written = pathlib.Path(self.folder.name) / "ports"
        self.log_path = pathlib.Path(self.folder.name) / "log"
        self.port, self.http_port = ports or (0, 0)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [str(ASTRAYD), f"--model-base-path={models}", f"--port={self.port}", f"--http-port={self.http_port}",
                 f"--port-file={written}", *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

        def answers():
            if self.process.poll() is not None:
                raise AssertionError(f"astrayd: exit {self.process.returncode}\n{self.log()}")
            if ports:
                return http(self.http_port, "/healthz")[0] == 200
            return written.exists() and written.read_text().split()

        started = wait_for(answers, "astrayd")
        if not ports:
            self.port, self.http_port = map(int, started)
        self.address = f"127.0.0.1:{self.port}"

    def log(self):
        return self.log_path.read_text(errors="replace")

    def wait_until_ready(self):
        wait_for(lambda: http(self.http_port, "/readyz")[0] == 200, "/readyz")
        return self

    def metrics(self):
        status, body = http(self.http_port, "/metrics")
        assert status == 200, f"/metrics: {status}"
        return body

    def terminate(self):
        """Asks for a drain and returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_SECONDS)

    def kill(self):
        self.process.kill()
        self.process.wait(PATIENCE_SECONDS)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):
            self.kill()
        self.folder.cleanup()
