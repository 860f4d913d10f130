#!/usr/bin/python3
"""Speed, as ratios of things measured in turns in one run: a table, lines of JSON, and the page docs/performance.md.

    scripts/bench [--check] [--only=network,rpc] [--json=FILE] [--page]

Each program of tests/bench prints a line of JSON for each figure: {"id", "ratio", "low", "high", "ours", "reference", "unit"}, the
quartiles over its rounds included, or {"curve", "x", "y"} for a point of a curve. What each figure is, and its goal, is here.
With --check, a goal that is missed makes the exit status 1. A peer that is not installed is left out, and said so.
"""
import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
HERE = ROOT / "tests" / "bench"
BUILD = pathlib.Path(os.environ.get("ASTRAY_BUILD_DIR", ROOT / "build/release"))

# What runs, in this order: programs of the build, or scripts beside this one.
TOOLS = {
    "network": ["network_bench"],
    "verdict": ["verdict_bench"],
    "training": ["pytorch_training.py", str(BUILD / "bin" / "training_steps")],
    "parsing": ["parsing_bench"],
    "footprint": ["footprint.py"],
    "rpc": ["rpc_bench"],
    "rows": ["training_rows.py", f"--program={BUILD / 'bin' / 'astray'}", "--most-rows=10000000"],
}

AT_LEAST, AT_MOST = "≥", "≤"

# id: what it is, the goal's direction, the goal. Without a goal: for information.
FIGURES = {
    "Serving": {
        "unary_s1": ("S1 unary calls per server CPU second against the empty call, 64 in flight", AT_LEAST, 0.95),
        "unary_s3": ("S3 unary calls against the empty call", AT_LEAST, 0.55),
        "p50_half_load_s1": ("S1 median latency at half load against the empty call", AT_MOST, 1.1),
        "p50_half_busy_s1": ("the same with the server's core busy half of the time", None, None),
        "stream_s1": ("S1 stream, one vector a message, against unary calls", AT_LEAST, 2),
        "batch_s1": ("S1 rows/s in 1,024-row messages, a server core, against 2.5 million", AT_LEAST, 1),
    },
    "Network, as a share of the core's fused multiply-add peak": {
        "peak_s3_8": ("S3, batch 8", AT_LEAST, 0.90),
        "peak_s3_8_floats": ("the same with weights of 32 bits", None, None),
        "peak_s3_1024": ("S3, batch 1,024", AT_LEAST, 0.90),
        "peak_s2_128": ("S2, batch 128", AT_LEAST, 0.88),
        "peak_s1_1024": ("S1, batch 1,024", AT_LEAST, 0.80),
        "threads_s3_1024": ("S3, batch 1,024, on two threads against one", AT_LEAST, 1.9),
    },
    "Network against ONNX Runtime, one thread": {
        f"ort_{shape}_{batch}": (f"{shape.upper()}, batch {batch:,}", AT_LEAST, goal)
        for shape, goals in {"s1": (12, 3, 1.4, 1.4), "s2": (3, 1.4, 1.15, 1.08), "s3": (1.35, 1.2, 1.05, 1.05)}.items()
        for batch, goal in zip((1, 8, 128, 1024), goals)
    } | {
        "ort_s2_1_floats": ("S2, batch 1, weights of 32 bits", None, None),
        "ort_s3_1_floats": ("S3, batch 1, weights of 32 bits", None, None),
        "ort_s3_8_floats": ("S3, batch 8, weights of 32 bits", None, None),
    },
    "Full verdict (error, threshold, p-value, top 3 contributors) against the forward pass alone": {
        "verdict_s1_1024": ("S1, batch 1,024", AT_MOST, 1.25),
        "verdict_s2_1024": ("S2, batch 1,024", None, None),
        "verdict_s3_1024": ("S3, batch 1,024", None, None),
        "verdict_s1_prototypes": ("S1, batch 1,024, of a table: with 256 prototypes", None, None),
        "verdict_s1_missing": ("S1, batch 1,024, about 3 values of a row missing", None, None),
        "verdict_window": ("windows of 32 rows of 38 features", None, None),
    },
    "A training step against PyTorch, the same number of threads": {
        f"torch_{shape}_{batch}{suffix}": (f"{shape.upper()}, batch {batch:,}, {threads}", AT_LEAST if goal else None, goal)
        for suffix, threads, goals in (("", "1 thread", (5, 2.8, 1.5, 1.1)), ("_t4", "4 threads", (5, 2.8, 1.5, 1.1)))
        for (shape, batch), goal in zip((("s1", 128), ("s1", 1024), ("s3", 128), ("s3", 1024)), goals)
    },
    "Files": {
        "csv_read": ("CSV read into a data set, against reading the bytes alone", None, None),
        "csv_read_quoted": ("the same with all cells quoted", None, None),
        "csv_write": ("verdicts written as CSV, against writing the bytes alone", None, None),
        "offline_score_s1": ("CPU time of scoring S1 rows against that of scoring a CSV file of them", None, None),
    },
    "Footprint": {
        "idle_server_mb": ("40 MB against the memory of an idle server with one S1 model", AT_LEAST, 1),
        "thousand_models_mb": ("300 MB against what 1,000 S1 models take more", AT_LEAST, 1),
        "start_ms": ("150 ms against the time from start to ready", AT_LEAST, 1),
    },
}

# Curves of one plot: title, axes, logarithmic axes, and the curves with their labels.
PLOTS = {
    "rows-by-cores": ("Rows a second by server cores", "server cores", "rows/s", "", {"rows_by_cores": "S1, 256-row messages"}),
    "latency-by-load": ("Latency by load, until saturation", "offered load, of saturation", "ms", "y",
                        {"latency_by_load": "median", "latency_p99_by_load": "99th percentile"}),
    "memory-by-models": ("Memory by loaded models", "S1 models", "resident MB", "x", {"memory_by_models": "astrayd"}),
    "training-by-rows": ("Training time by rows", "rows", "s", "xy", {"training_seconds_by_rows": "astray train, defaults"}),
    "training-memory-by-rows": ("Memory of training by rows", "rows", "anonymous MB", "x", {"training_anonymous_mb_by_rows": "astray train, defaults"}),
    "training-by-threads": ("Training steps by threads", "threads", "steps/s", "", {"training_threads": "S3, batch 1,024"}),
}


def run(name, arguments):
    """The lines of a program, and whether it measured all that it should."""
    command = [str(HERE / arguments[0] if arguments[0].endswith(".py") else BUILD / "bin" / arguments[0]), *arguments[1:]]
    print(f"{name} ...", file=sys.stderr, flush=True)
    environment = {**os.environ, "ASTRAY_BUILD_DIR": str(BUILD)}
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode != 0:
        print(f"{name}: exit {done.returncode}", file=sys.stderr)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")], done.returncode == 0


def misses(direction, goal, ratio):
    return direction is not None and (ratio < goal if direction == AT_LEAST else ratio > goal)


def rounded(value):
    if value == 0:
        return "0"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def rows_of(results):
    """[group, [what, goal, ratio, quartiles, ours, reference, missed]] of what was measured."""
    for group, figures in FIGURES.items():
        rows = []
        for name, (what, direction, goal) in figures.items():
            if name not in results:
                continue
            line = results[name]
            aim = f"{direction} {goal:g}" if direction else "–"
            unit = line.get("unit", "")
            rows.append([what, aim, f"{line['ratio']:.2f}", f"{line.get('low', line['ratio']):.2f} – {line.get('high', line['ratio']):.2f}",
                         f"{rounded(line['ours'])} {unit}", f"{rounded(line['reference'])} {unit}" if "reference" in line else "–",
                         misses(direction, goal, line["ratio"])])
        if rows:
            yield group, rows


def show(results):
    red, plain = ("\033[31m", "\033[0m") if sys.stdout.isatty() or os.environ.get("CLICOLOR_FORCE") else ("", "")
    for group, rows in rows_of(results):
        print(f"\n{group}")
        print(f"  {'':72} {'goal':>8} {'ratio':>8}   {'quartiles':15} {'ours':>18} {'reference':>18}")
        for what, aim, ratio, quartiles, ours, reference, missed in rows:
            print(f"  {what:72} {aim:>8} {red if missed else ''}{ratio:>8}{plain}   {quartiles:15} {ours:>18} {reference:>18}"
                  f"{'  missed' if missed else ''}")


def machine():
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown")
    flags = next((line for line in open("/proc/cpuinfo") if line.startswith("flags")), "").split()
    vectors = next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), "no AVX2")
    memory = next(int(line.split()[1]) for line in open("/proc/meminfo") if line.startswith("MemTotal")) / 2**20
    return f"{model}, {os.cpu_count()} cores, {vectors}, {memory:.0f} GiB"


def plot(folder, curves):
    """A picture for each plot that has points; their names."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as pyplot

    matplotlib.rcParams["svg.hashsalt"] = "astray"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, (title, x_label, y_label, logarithmic, members) in PLOTS.items():
        if not any(member in curves for member in members):
            continue
        figure, axes = pyplot.subplots(figsize=(6, 3.4), layout="constrained")
        for member, label in members.items():
            points = sorted(curves.get(member, []))
            axes.plot([x for x, _ in points], [y for _, y in points], marker="o", label=label)
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        axes.set(**{f"{axis}scale": "log" for axis in logarithmic})
        if "y" not in logarithmic:
            axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
        pyplot.close(figure)
        drawn.append((name, title))
    return drawn


def page(results, curves, drawn):
    """docs/performance.md but for what a person wrote of it: everything from the marker on."""
    today = datetime.date.today().isoformat()
    text = [f"Measured on {today}: {machine()}; `scripts/bench --page`. Quartiles are over the rounds of one run.\n"]
    for group, rows in rows_of(results):
        text.append(f"### {group}\n")
        text.append("| | goal | ratio | quartiles | ours | reference |\n|---|---|---|---|---|---|")
        for what, aim, ratio, quartiles, ours, reference, missed in rows:
            text.append(f"| {what} | {aim} | {ratio if not missed else f'**{ratio}**, missed'} | {quartiles} | {ours} | {reference} |")
        text.append("")
    if drawn:
        text.append("## Growth\n")
        for name, title in drawn:
            text.append(f"![{title}](performance/{name}.svg)\n")
            for member, label in PLOTS[name][4].items():
                points = ", ".join(f"{rounded(x)}: {rounded(y)}" for x, y in sorted(curves.get(member, [])))
                text.append(f"{title}, {label} ({PLOTS[name][1]}: {PLOTS[name][2]}): {points}.\n")
    return "\n".join(text).rstrip() + "\n"


MARKER = "<!-- from here on written by scripts/bench --page -->\n"

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="exit 1 where a goal is missed")
    parser.add_argument("--only", default=",".join(TOOLS), help=f"comma-separated, of {', '.join(TOOLS)}")
    parser.add_argument("--json", help="file for the lines of JSON")
    parser.add_argument("--page", action="store_true", help="write docs/performance.md and its plots")
    parser.add_argument("--from", dest="source", help="show and write what an earlier run left in its --json file, without measuring")
    flags = parser.parse_args()
    chosen = flags.only.split(",")
    if unknown := set(chosen) - set(TOOLS):
        parser.error(f"--only: expected some of {', '.join(TOOLS)}, got {', '.join(sorted(unknown))}")
    failed, lines = [], []
    if flags.source:
        lines = [json.loads(line) for line in open(flags.source)]
    else:
        for tool in chosen:
            printed, complete = run(tool, TOOLS[tool])
            failed += [] if complete else [tool]
            lines += printed
    if flags.json:
        pathlib.Path(flags.json).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    results = {line["id"]: line for line in lines if "id" in line}
    curves = {}
    for line in lines:
        if "curve" in line:
            curves.setdefault(line["curve"], []).append((line["x"], line["y"]))
    show(results)
    if flags.page:
        target = ROOT / "docs" / "performance.md"
        head, marker, _ = target.read_text().partition(MARKER)
        target.write_text(head + (marker or MARKER) + page(results, curves, plot(ROOT / "docs" / "performance", curves)))
    goals = {name for figures in FIGURES.values() for name, (_, direction, _) in figures.items() if direction}
    if absent := goals - set(results) if not flags.source and set(chosen) == set(TOOLS) else set():
        print(f"note: not measured: {', '.join(sorted(absent))}", file=sys.stderr)
    missed = [row[0] for _, rows in rows_of(results) for row in rows if row[-1]]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")
    if flags.check and missed:
        sys.exit(f"{len(missed)} goals missed")
