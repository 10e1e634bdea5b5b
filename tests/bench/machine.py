"""What kind of machine this is, and which versions of the peers are installed."""

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PEERS = ["torch", "jax", "onnxruntime", "numpy"]
FLAGS = ["avx2", "avx512f", "avx512_bf16", "amx_tile", "amx_bf16", "asimd", "bf16", "sve"]


def describe():
    model, flags = cpu()
    return {
        "date": datetime.date.today().isoformat(),
        "commit": commit(),
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "isa": [flag for flag in FLAGS if flag in flags],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in PEERS},
    }


def cpu():
    """The model's name, with family and model number, since names can be vague; and its features."""
    found = {}
    path = Path("/proc/cpuinfo")
    for line in path.read_text().splitlines() if path.exists() else []:
        name, _, value = line.partition(":")
        found.setdefault(name.strip(), value.strip())
    model = found.get("model name", platform.processor())
    numbers = [found[key] for key in ("cpu family", "model") if key in found]
    return f"{model} (family {', model '.join(numbers)})" if numbers else model, found.get("flags", "").split()


def commit():
    """What the repository stands at; the engine may have been built from another."""
    command = ["git", "-C", str(Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def version(name):
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
