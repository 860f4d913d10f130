#!/usr/bin/python3
"""Steps of training, PyTorch's against ours: the same rows, network, noise, loss, optimizer, batch and threads, in turns.

Usage: pytorch_training.py BUILD_DIR/bin/training_steps [--rounds=N] [--threads=N] [--ids=ID,...]

Prints lines of JSON. Of one thread CPU time counts, of several the clock. Without PyTorch (Debian python3-torch) only the
curve of our steps a second by threads. PyTorch multiplies matrices with the system's BLAS: Debian's reference BLAS is
slow, libopenblas0-openmp is a fair peer (libopenblas0-pthread has threads beside PyTorch's own, which then wait for each
other); standard error says which it was.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

LAYERS = {"s1": [38, 64, 16, 64, 38], "s3": [784, 512, 64, 512, 784]}
ROWS = 8192  # that training_steps learns from
SECONDS = 0.3  # a turn


class Side:
    """A process that takes steps: training_steps, or this script with --serve."""

    def __init__(self, command, shape, batch, threads, start_file):
        # OpenBLAS has threads of its own, that torch.set_num_threads does not know.
        environment = dict(os.environ, OPENBLAS_NUM_THREADS=str(threads), OMP_NUM_THREADS=str(threads))
        self.process = subprocess.Popen([*command, shape, str(batch), str(threads), start_file], text=True,
                                        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if not self.process.stdout.readline().startswith("ready"):
            raise RuntimeError(f"{' '.join(command)} did not start")

    def take(self, steps):
        """(CPU seconds, seconds of the clock, mean loss) of so many steps."""
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        return tuple(map(float, self.process.stdout.readline().split()))

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class PyTorchSteps:
    def __init__(self, torch, shape, batch, threads, start_file):
        torch.set_num_threads(threads)
        torch.manual_seed(1)
        self.torch, self.batch = torch, batch
        sizes = LAYERS[shape]
        with open(start_file, "rb") as file:
            start = torch.frombuffer(bytearray(file.read()), dtype=torch.float32)
        self.rows, start = start[:ROWS * sizes[0]].reshape(ROWS, sizes[0]), start[ROWS * sizes[0]:]
        layers = []
        for inputs, outputs in zip(sizes, sizes[1:]):
            layer = torch.nn.Linear(inputs, outputs)
            with torch.no_grad():
                layer.weight.copy_(start[:inputs * outputs].reshape(outputs, inputs))
                layer.bias.zero_()
            start = start[inputs * outputs:]
            layers += [layer, torch.nn.ReLU()]
        layers.pop()
        self.network = torch.nn.Sequential(*layers)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)

    def step(self):
        torch = self.torch
        clean = self.rows[torch.randint(0, len(self.rows), (self.batch,))]
        loss = torch.nn.functional.mse_loss(self.network(clean + 0.2 * torch.randn_like(clean)), clean)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def take(self, steps):
        cpu, clock, total = time.process_time(), time.perf_counter(), 0.0
        for _ in range(steps):
            total += self.step()
        return time.process_time() - cpu, time.perf_counter() - clock, total / steps


def steps_of_a_turn(side):
    """So many that a turn takes SECONDS; the first ones warm up."""
    side.take(2)
    steps = 2
    while True:
        seconds = side.take(steps)[1]
        if seconds > SECONDS / 4:
            return max(1, round(steps * SECONDS / seconds))
        steps *= 4


def compare(identity, ours, theirs, clock, rounds):
    first = None
    samples = []
    our_steps, their_steps = steps_of_a_turn(ours), steps_of_a_turn(theirs)
    for _ in range(rounds):
        a, b = ours.take(our_steps), theirs.take(their_steps)
        # PyTorch's threads spin for a while where they wait.
        if clock:
            time.sleep(0.05)
        samples.append((a[clock] / our_steps, b[clock] / their_steps, a[2], b[2]))
        first = first or samples[0]
    ratios = sorted(b / a for a, b, _, _ in samples)
    quartile = statistics.quantiles(ratios, n=4) if rounds > 1 else ratios * 3
    print(json.dumps({"id": identity, "ratio": round(statistics.median(ratios), 4), "low": round(quartile[0], 4),
                      "high": round(quartile[2], 4), "ours": statistics.median(s[0] for s in samples),
                      "reference": statistics.median(s[1] for s in samples), "unit": "s/step"}), flush=True)


def check_losses(ours_command, theirs_command, shape, batch):
    """After as many steps from the same weights and rows both have learned as much; only what is drawn differs."""
    with tempfile.TemporaryDirectory() as folder:
        start_file = os.path.join(folder, "start")
        ours = Side(ours_command, shape, batch, 1, start_file)
        theirs = Side(theirs_command, shape, batch, 1, start_file)
        losses = [(ours.take(20)[2], theirs.take(20)[2]) for _ in range(10)]
        ours.close()
        theirs.close()
    (our_first, their_first), (our_last, their_last) = losses[0], losses[-1]
    text = f"{shape} batch {batch}: loss {our_first:.4f} to {our_last:.4f}, PyTorch's {their_first:.4f} to {their_last:.4f}"
    alike = 0.9 < our_last / their_last < 1.1 and our_last < 0.8 * our_first
    print(f"{'note' if alike else 'WARNING, losses do not fall alike'}: {text}", file=sys.stderr)


def serve(shape, batch, threads, start_file):
    import torch
    steps = PyTorchSteps(torch, shape, int(batch), int(threads), start_file)
    print("ready", flush=True)
    for line in sys.stdin:
        print(*steps.take(int(line)), flush=True)


def has_torch():
    # OpenBLAS of Debian 12 takes a processor younger than itself for one without AVX.
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = file.read()
    if "avx2" in flags:
        os.environ.setdefault("OPENBLAS_CORETYPE", "SkylakeX" if "avx512f" in flags else "Haswell")
    show = "import torch; print(torch.__version__); print(*open('/proc/self/maps'), sep='')"
    shown = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=False)
    if shown.returncode != 0:
        print("note: no PyTorch (Debian python3-torch): its lines are left out", file=sys.stderr)
        return False
    version, *maps = shown.stdout.splitlines()
    libraries = sorted({os.path.realpath(line.split()[-1]) for line in maps if "blas" in line})
    print(f"note: PyTorch {version} with {', '.join(libraries) or 'a BLAS of its own'}", file=sys.stderr)
    if libraries and not any("openblas" in library for library in libraries):
        print("note: that is the reference BLAS, no fair peer: libopenblas0-openmp is", file=sys.stderr)
    return True


def main():
    if sys.argv[1:2] == ["--serve"]:
        return serve(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=4)
    parser.add_argument("--ids", default="", help="comma-separated; default: all, and the curve")
    options = parser.parse_args()
    chosen = options.ids.split(",") if options.ids else None
    ours_command, theirs_command = [options.program], [sys.executable, os.path.abspath(__file__), "--serve"]
    networks = (("s1", 128), ("s1", 1024), ("s3", 128), ("s3", 1024)) if has_torch() else ()
    with tempfile.TemporaryDirectory() as folder:
        start_file = os.path.join(folder, "start")
        for shape, batch in networks:
            if chosen is None:
                check_losses(ours_command, theirs_command, shape, batch)
        for threads in (1, options.threads):
            for shape, batch in networks:
                suffix = "" if threads == 1 else f"_t{threads}"
                identity = f"torch_{shape}_{batch}{suffix}"
                if chosen is not None and identity not in chosen:
                    continue
                ours = Side(ours_command, shape, batch, threads, start_file)
                theirs = Side(theirs_command, shape, batch, threads, start_file)
                compare(identity, ours, theirs, clock=int(threads > 1), rounds=options.rounds)
                ours.close()
                theirs.close()
        if chosen is not None and "training_threads" not in chosen:
            return None
        by_threads = [(t, Side(ours_command, "s3", 1024, t, start_file)) for t in range(1, options.threads + 1)]
        steps = {t: steps_of_a_turn(ours) for t, ours in by_threads}
        rates = {t: [] for t in steps}
        for _ in range(options.rounds):
            for t, ours in by_threads:
                rates[t].append(steps[t] / ours.take(steps[t])[1])
        for t, ours in by_threads:
            print(json.dumps({"curve": "training_threads", "x": t, "y": round(statistics.median(rates[t]), 3)}), flush=True)
            ours.close()
    return None


if __name__ == "__main__":
    main()
