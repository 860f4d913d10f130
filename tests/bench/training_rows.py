#!/usr/bin/python3
"""How long training takes, and how much memory, by the number of rows: points of two curves as lines of JSON.

Rows of 38 features that hang together; the default recipe. Memory is the largest RssAnon, which no kernel can drop.
"""
import argparse
import json
import pathlib
import subprocess
import tempfile
import time

import numpy as np

FEATURES = 38
BLOCK_ROWS = 50_000  # that are made; more rows repeat them


def block() -> bytes:
    random = np.random.default_rng(1)
    hidden = random.normal(size=(BLOCK_ROWS, 6))
    rows = 10 * np.tanh(hidden @ random.normal(size=(6, FEATURES))) + 0.3 * random.normal(size=(BLOCK_ROWS, FEATURES))
    return "".join(",".join(f"{value:.6g}" for value in row) + "\n" for row in rows).encode()


def write_csv(path: pathlib.Path, rows: int, text: bytes) -> None:
    with path.open("wb") as file:
        file.write((",".join(f"f{i}" for i in range(FEATURES)) + "\n").encode())
        for _ in range(rows // BLOCK_ROWS):
            file.write(text)
        file.write(b"".join(text.splitlines(keepends=True)[: rows % BLOCK_ROWS]))


def anonymous_kilobytes(process: int) -> int:
    try:
        status = pathlib.Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)


def train(program: str, data: pathlib.Path, models: pathlib.Path, more: list[str]) -> tuple[float, int]:
    begin = time.monotonic()
    command = [program, "train", f"--data={data}", "--name=rows", f"--model-base-path={models}", *more]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        most = 0
        while process.poll() is None:
            most = max(most, anonymous_kilobytes(process.pid))
            time.sleep(0.02)
        if process.returncode != 0:
            raise SystemExit(process.stderr.read().decode())
    return time.monotonic() - begin, most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--program", default="build/release/bin/astray")
    parser.add_argument("--most-rows", type=int, default=1_000_000, help="up to 10000000, which takes 3.2 GB of CSV")
    parser.add_argument("--folder", help="where data and scratch files go (default: a temporary one)")
    parser.add_argument("train_flags", nargs="*", help="for astray train, after --")
    flags = parser.parse_args()
    text = block()
    with tempfile.TemporaryDirectory(dir=flags.folder) as folder:
        data = pathlib.Path(folder) / "rows.csv"
        rows = 10_000
        while rows <= flags.most_rows:
            write_csv(data, rows, text)
            more = [f"--scratch-dir={folder}", *flags.train_flags]
            seconds, kilobytes = train(flags.program, data, pathlib.Path(folder) / "models", more)
            print(json.dumps({"curve": "training_seconds_by_rows", "x": rows, "y": round(seconds, 3)}), flush=True)
            megabytes = round(kilobytes / 1024, 1)
            print(json.dumps({"curve": "training_anonymous_mb_by_rows", "x": rows, "y": megabytes}), flush=True)
            rows *= 10


if __name__ == "__main__":
    main()
