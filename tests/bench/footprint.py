#!/usr/bin/python3
"""What astrayd takes of a machine: resident memory idle and by models loaded, and the time from exec to ready, as lines
of JSON. Builds nothing: expects bin/astrayd and bin/write_models in ASTRAY_BUILD_DIR (default build/release).

    tests/bench/footprint.py [--models=1,10,100,300,1000] [--starts=9]
"""
import argparse
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
BIN = pathlib.Path(os.environ.get("ASTRAY_BUILD_DIR", ROOT / "build" / "release")) / "bin"

IDLE_MB, THOUSAND_MB, START_MS = 40, 300, 150  # the goals
READY_SECONDS = 300


class Server:
    """An astrayd that is ready. `seconds`: from exec to then."""

    def __init__(self, models, folder):
        port_file = pathlib.Path(folder) / "ports.txt"
        port_file.unlink(missing_ok=True)
        begin = time.monotonic()
        self.process = subprocess.Popen(
            [BIN / "astrayd", f"--model-base-path={models}", "--port=0", "--http-port=0", f"--port-file={port_file}",
             "--log-level=error"], stdin=subprocess.DEVNULL)
        while not port_file.exists():
            if self.process.poll() is not None:
                raise RuntimeError(f"astrayd: exit {self.process.returncode}")
            if time.monotonic() - begin > READY_SECONDS:
                self.process.kill()
                raise RuntimeError(f"astrayd: not ready after {READY_SECONDS} s")
            time.sleep(0.0005)
        self.seconds = time.monotonic() - begin

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)

    def resident_mb(self):
        status = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


def show(**line):
    print(json.dumps(line), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="1,10,100,300,1000")
    parser.add_argument("--starts", type=int, default=9)
    flags = parser.parse_args()
    counts = sorted(int(count) for count in flags.models.split(","))

    with tempfile.TemporaryDirectory() as folder:
        every = pathlib.Path(folder) / "every"
        subprocess.run([BIN / "write_models", every, str(counts[-1])], check=True)
        names = sorted(os.listdir(every), key=lambda name: int(name.rsplit("-", 1)[1]))
        resident = {}
        base = pathlib.Path(folder) / "models"
        base.mkdir()
        for count in counts:
            for name in names[len(os.listdir(base)):count]:
                shutil.move(every / name, base / name)
            if count == 1:
                starts = []
                for _ in range(flags.starts):
                    with Server(base, folder) as server:
                        starts.append(1000 * server.seconds)
                milliseconds = statistics.median(starts)
                show(id="start_ms", ratio=START_MS / milliseconds, ours=milliseconds, reference=START_MS, unit="ms",
                     low=START_MS / max(starts), high=START_MS / min(starts))
            with Server(base, folder) as server:
                time.sleep(2)  # idle: past the first looks at the folder
                resident[count] = server.resident_mb()
            show(curve="memory_by_models", x=count, y=resident[count])
        if 1 in resident:
            show(id="idle_server_mb", ratio=IDLE_MB / resident[1], ours=resident[1], reference=IDLE_MB, unit="MB")
        if 1 in resident and 1000 in resident:
            extra = resident[1000] - resident[1]
            show(id="thousand_models_mb", ratio=THOUSAND_MB / extra, ours=extra, reference=THOUSAND_MB, unit="MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
