"""attnc beside its peers: interleaved calls on equal inputs, equal outputs checked, ratios of medians reported.

    python tests/bench/run.py [CASE ...] [--threads 1] [--quick] [--repeat 7] [--limit 60] [--json FILE] [--svg FILE]

Names may hold wildcards. A `--json` file that exists is added to, so that a long table can be measured in pieces.
README.md says how to install the peers.
"""

import argparse
import fnmatch
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import cases
import engine
import machine
import report

HERE = Path(__file__).resolve().parent

# Threads of every library that may be in a peer's process.
POOLS = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]
# glibc's allocator told to keep what it got, in large pages: about half of eager torch's time is page faults.
TUNED = {"THP_MEM_ALLOC_ENABLE": "1", "MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(1 << 36)}
# Settings of other people's machines that would slow a peer down.
UNSET = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]

# Greatest relative difference of two results, in the Euclidean norm: some roundings of f32, or of bf16.
DIFFERENCE = {"f32": 2e-5, "bf16": 1e-2}


class Gone(Exception):
    """A peer that failed, or took longer than it may."""


class Worker:
    """A peer's process."""

    def __init__(self, peer, threads):
        env = {name: value for name, value in os.environ.items() if name not in UNSET}
        env.update({name: str(threads) for name in POOLS})
        if peer.endswith("-tuned"):
            env.update(TUNED)
        command = [sys.executable, str(HERE / "worker.py"), peer, str(threads)]
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, env=env, text=True, bufsize=1
        )

    def ask(self, limit, **request):
        """The answer to a request, within `limit` seconds."""
        try:
            self.process.stdin.write(json.dumps(request) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Gone(self.last_words()) from None
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        if not ready:
            self.stop()
            raise Gone(f"took more than {limit:g} s")
        line = self.process.stdout.readline()
        if not line:
            raise Gone(self.last_words())
        answer = json.loads(line)
        if "error" in answer:
            raise Gone(answer["error"])
        return answer

    def last_words(self):
        self.process.wait()
        self.log.seek(0)
        lines = self.log.read().decode(errors="replace").strip().splitlines()
        return f"ended with status {self.process.returncode}: {lines[-1] if lines else ''}"

    def stop(self):
        self.process.kill()
        self.process.wait()


def measure(case, args, limits):
    """One case: the row of the report."""
    inputs = case.inputs()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for name, array in inputs.items():
            np.save(folder / f"{name}.npy", array)
        wanted = ["attnc"] + [p for p in case.peers if not args.peers or p in args.peers]
        workers, rows = {}, {}
        try:
            for peer in wanted:
                workers[peer] = Worker(peer, args.threads)
                rows[peer] = start(workers, peer, case, folder, args)
            turns(workers, rows, args)
            check(workers, rows, case, folder, args)
        finally:
            for worker in workers.values():
                worker.stop()
    return summary(case, inputs, rows, args, limits)


def start(workers, peer, case, folder, args):
    row = {"peer": peer, "turns": []}
    try:
        row.update(workers[peer].ask(args.limit, do="prepare", case=case.name, inputs=str(folder)))
    except Gone as gone:
        drop(workers, row, gone)
    return row


def drop(workers, row, gone):
    row["skipped"] = str(gone)
    workers.pop(row["peer"]).stop()


def turns(workers, rows, args):
    """Rounds in which every peer has a turn, in alternating order."""
    for number in range(args.repeat):
        order = list(workers)
        for peer in order if number % 2 == 0 else reversed(order):
            row = rows[peer]
            # Calls of seconds are steady enough to have fewer turns.
            if row["turns"] and min(row["turns"]) > 2500 and number >= 2:
                continue
            try:
                answer = workers[peer].ask(args.limit, do="turn", seconds=args.turn, most=args.most)
                row["turns"].append(statistics.median(answer["ms"]))
            except Gone as gone:
                drop(workers, row, gone)


def check(workers, rows, case, folder, args):
    """Relative differences of the peers' results from attnc's."""
    outputs = {}
    for peer in [p for p in workers if p != cases.PLAIN]:
        path = folder / f"result-{peer}.npy"
        try:
            workers[peer].ask(args.limit, do="output", path=str(path))
            outputs[peer] = np.load(path)
        except Gone as gone:
            rows[peer]["skipped"] = str(gone)
    own = outputs.pop("attnc", None)
    for peer, other in outputs.items():
        if own is not None:
            difference = float(np.linalg.norm(own - other) / np.linalg.norm(other))
            rows[peer]["difference"] = difference
            rows[peer]["equal"] = bool(difference <= DIFFERENCE[case.dtype])


def summary(case, inputs, rows, args, limits):
    own = rows.pop("attnc")
    row = {
        "case": case.name, "threads": args.threads, "N": case.N, "H": case.H, "D": case.D, "dtype": case.dtype,
        "note": case.note, "form": own.get("how"), "skipped": own.get("skipped"), "peers": [],
    }
    if not own["turns"]:
        return row
    row.update(spread("ms", own["turns"]))
    row["gflops"] = case.flops(inputs) / row["ms"] / 1e6
    row["of_peak"] = row["gflops"] / limits["product_gflops"]
    row["peak_line"] = case.peak or None
    if case.bandwidth:
        row["gbytes_s"] = case.bytes() / row["ms"] / 1e6
        row["of_bandwidth"] = row["gbytes_s"] / limits["read_gbytes_s"]
        row["bandwidth_line"] = case.bandwidth
    for peer, found in rows.items():
        entry = {key: found.get(key) for key in ("peer", "how", "first_ms", "skipped", "difference", "equal")}
        if found["turns"]:
            entry.update(spread("ms", found["turns"]))
            # Turns of one round lie next to each other in time: what disturbs one disturbs the other.
            pairs = zip(found["turns"], own["turns"])
            entry.update(spread("ratio", [theirs / ours for theirs, ours in pairs]))
        entry["line"] = case.lines.get(peer)
        row["peers"].append(entry)
    return row


def spread(name, values):
    low, middle, high = np.percentile(values, [25, 50, 75])
    return {name: float(middle), f"{name}_low": float(low), f"{name}_high": float(high)}


def first_result(args):
    """Seconds from exec to the result of `first-result`, and of a program that does nothing."""
    program = engine.module_path().parent / "first-result"
    command = [str(program), str(cases.ROOT / cases.DENSE), "512", "8", "64", str(args.threads)]
    times, idle = [], []
    for _ in range(4 * args.repeat):
        for kind, found in ((command, times), (["true"], idle)):
            begin = time.perf_counter()
            subprocess.run(kind, check=True, stdout=subprocess.DEVNULL)
            found.append((time.perf_counter() - begin) * 1e3)
    row = {"case": "first-result-512", "threads": args.threads, "N": 512, "H": 8, "D": 64, "dtype": "f32",
           "form": "spec text to first result in a cold process", "peers": [], "ms_line": 20.0,
           "note": f"a process that does nothing takes {statistics.median(idle):.1f} ms"}
    row.update(spread("ms", times))
    return row


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help="names, with wildcards; all unless given")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few cases, short turns")
    parser.add_argument("--repeat", type=int, help="rounds of turns (7, quick 3)")
    parser.add_argument("--limit", type=float, default=60, help="seconds that a peer's preparation or turn may take")
    parser.add_argument("--peers", nargs="*", help="only these")
    parser.add_argument("--json", type=Path, help="add the rows to this file")
    parser.add_argument("--svg", type=Path)
    parser.add_argument("--list", action="store_true", help="only name the cases")
    args = parser.parse_args()
    args.repeat = args.repeat or (3 if args.quick else 7)
    args.turn, args.most = (0.1, 20) if args.quick else (0.4, 200)
    return args


def main():
    args = parse()
    found = [c for c in cases.all_cases() if not args.quick or c.quick or args.cases]
    names = [c.name for c in found] + ["first-result-512"]
    chosen = [n for n in names if not args.cases or any(fnmatch.fnmatch(n, p) for p in args.cases)]
    if args.list or not chosen:
        print("\n".join(names))
        return 0 if args.list else 2
    # Measured in a process of its own, which takes its gigabyte with it.
    meter = Worker("attnc", args.threads)
    limits = meter.ask(120, do="limits")
    meter.stop()
    before = json.loads(args.json.read_text()) if args.json and args.json.exists() else None
    rows = []
    for name in chosen:
        case = next((c for c in found if c.name == name), None)
        rows.append(measure(case, args, limits) if case else first_result(args))
        print(report.line(rows[-1]), flush=True)
        record = report.merged(before, machine.describe(), args.threads, limits, rows)
        # After every case: what has been measured is kept if the next one is broken off.
        if args.json:
            args.json.write_text(json.dumps(record, indent=1) + "\n")
    if args.svg:
        args.svg.write_text(report.svg(record))
    print("\n" + report.table(record))
    return 0


if __name__ == "__main__":
    sys.exit(main())
