#!/usr/bin/env python3
"""Enforces the floors of the house (docs/architecture.md) from #include lines.

A folder includes only lower floors, never sideways. Outside libraries have their places, too: oneDNN only in
engine/nn; gRPC, Prometheus, HTTP and flag parsing never in the engine. Prints one line a violation and exits 1.
"""
import pathlib
import re
import sys

FLOORS = {
    "engine/base": 0,
    "engine/nn": 1,
    "engine/data": 1,
    "engine/features": 2,
    "engine/detect": 3,
    "engine/train": 4,
}
# What each program's folder may include beside itself and proto/.
PROGRAMS = {
    "server": {"engine/base", "engine/nn", "engine/features", "engine/detect"},
    "client": set(FLOORS),
}
# Outside headers and the only folders that may include them.
OUTSIDE = [
    (re.compile(r"^(oneapi/)?dnnl"), {"engine/nn"}),
    (re.compile(r"^(grpc|grpcpp|grpc\+\+)/|\.grpc\.pb\.h$|_mock\.grpc\.pb\.h$"), {"server", "client"}),
    (re.compile(r"^prometheus/|^CivetServer\.h$|^civetweb\.h$"), {"server"}),
    (re.compile(r"^CLI/"), {"server", "client"}),
    (re.compile(r"^spdlog/"), {"server"}),
    (re.compile(r"^Eigen/"), {"engine/detect", "engine/train"}),
    (re.compile(r"^zlib\.h$"), {"engine/data"}),
    (re.compile(r"^(openssl)/"), {"engine/base"}),
    (re.compile(r"^mosquitto\.h$|^curl/|^onnx/"), {"client"}),
    (re.compile(r"^hwy/"), {"engine/base", "engine/nn", "engine/data", "engine/features", "engine/detect", "engine/train"}),
]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')


def folder_of(path):
    """The room a file or include path belongs to, or None for what is not ours."""
    parts = path.split("/")
    if parts[0] == "engine" and len(parts) > 2:
        return "/".join(parts[:2])
    if parts[0] in PROGRAMS and len(parts) > 1:
        return parts[0]
    return None


def why_not(folder, included):
    """Why a file of `folder` must not include `included`; None where it may."""
    target = folder_of(included)
    if target is None:
        for pattern, allowed in OUTSIDE:
            if pattern.search(included) and folder not in allowed:
                return f"only {', '.join(sorted(allowed))} may"
        return None
    if target == folder:
        return None
    if folder in PROGRAMS:
        return None if target in PROGRAMS[folder] else f"{folder} must not know {target}"
    if target not in FLOORS:
        return f"the engine must not know {target}"
    if FLOORS[target] >= FLOORS[folder]:
        return f"{target} is on floor {FLOORS[target]}, {folder} on floor {FLOORS[folder]}: only lower floors"
    return None


def violations(root):
    found = []
    for top in ("engine", *PROGRAMS):
        for path in sorted((root / top).rglob("*")):
            if path.suffix not in (".cc", ".h"):
                continue
            relative = path.relative_to(root).as_posix()
            folder = folder_of(relative)
            if folder is None or (top == "engine" and folder not in FLOORS):
                found.append(f"{relative}: not in a folder of the house; known: {', '.join(FLOORS)}")
                continue
            for number, line in enumerate(path.read_text().splitlines(), 1):
                match = INCLUDE.match(line)
                reason = why_not(folder, match.group(2)) if match else None
                if reason:
                    found.append(f"{relative}:{number}: includes {match.group(2)}: {reason}")
    return found


def main():
    root = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    found = violations(root)
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
