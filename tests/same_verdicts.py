"""Compares the verdicts of two run directories of the same questions and seed: THEIRS OURS.

Two builds of llama.cpp round differently now and then, which sends a sampled text another way, and a
vote rarely with it: 98 of 100 verdicts must agree on whether the question is kept and with which answer.
"""

import json
import pathlib
import sys


def lines(run, name):
    return [json.loads(line) for line in (pathlib.Path(run) / name).open()]


def texts(run):
    return {
        (s["question"], s["perturbation"], s["index"]): [step["text"] for step in s["steps"]]
        for s in lines(run, "samples.jsonl")
    }


theirs, ours = (lines(run, "verdicts.jsonl") for run in sys.argv[1:3])
assert len(theirs) == len(ours) > 0
assert [v["question"] for v in theirs] == [v["question"] for v in ours]


def verdict(v):
    return v["kept"], v["kept"] and v["answer"]["key"]


same = sum(verdict(a) == verdict(b) for a, b in zip(theirs, ours))
equal = sum(a == b for a, b in zip(theirs, ours))
a, b = (texts(run) for run in sys.argv[1:3])
both = a.keys() & b.keys()
alike = sum(a[key] == b[key] for key in both)
kept = sum(v["kept"] for v in ours)
print(
    f"verdicts: {same} of {len(ours)} the same ({equal} to the last byte, {kept} kept); "
    f"samples: {alike} of {len(both)} texts to the last byte"
)
assert same >= 0.98 * len(ours), "too many verdicts differ"
