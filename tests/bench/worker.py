"""One peer in a process of its own, driven by lines of JSON on its standard input.

Keeps the peers' thread pools, allocators and environments apart. `prepare` makes the function of a case, `turn` times
some calls of it, `output` writes its result; each answers with one line.
"""

import json
import os
import sys
import time
from pathlib import Path


def main():
    peer, threads = sys.argv[1], int(sys.argv[2])
    # JAX has no other way to run on fewer threads than there are cores.
    if peer == "jax":
        os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # What libraries print must not look like an answer.
    state = {}
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = ANSWERS[request.pop("do")](state, peer, threads, **request)
        except Exception as error:  # Any failure of a peer is a line of the report.
            answer = {"error": f"{type(error).__name__}: {error}"[:500]}
        answers.write(json.dumps(answer) + "\n")


def prepare(state, peer, threads, case, inputs):
    import numpy as np

    import cases
    import memory
    import peers

    found = {c.name: c for c in cases.all_cases()}[case]
    arrays = {path.stem: memory.aligned(np.load(path)) for path in Path(inputs).glob("*.npy")}
    started = time.perf_counter()
    state["call"], state["back"], how = peers.prepare(peer, found, arrays, threads)
    state["result"] = state["call"]()
    return {"how": how, "first_ms": (time.perf_counter() - started) * 1e3}


def turn(state, peer, threads, seconds, most):
    call, clock = state["call"], time.perf_counter
    begin = clock()
    call()  # Untimed: caches and clocks have forgotten this peer while the others ran.
    warm = clock() - begin
    times = []
    # Calls of microseconds are timed in groups, so that reading the clock does not count.
    group = max(1, min(200, int(2e-4 / max(warm, 1e-7))))
    begin = clock()
    while not times or (clock() - begin < seconds and len(times) < most):
        start = clock()
        for _ in range(group):
            call()
        times.append((clock() - start) / group * 1e3)
    return {"ms": times}


def output(state, peer, threads, path):
    import numpy as np

    np.save(path, state["back"](state["result"]))
    return {}


def limits(state, peer, threads):
    import engine

    return engine.limits(threads)


ANSWERS = {"prepare": prepare, "turn": turn, "output": output, "limits": limits}

if __name__ == "__main__":
    main()
