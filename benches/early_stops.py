#!/usr/bin/env python3
"""What stopping early saves and what it changes, on the very same samples.

  python benches/early_stops.py --model M.gguf --task coin-flip --questions train.jsonl [--samples 8]

Takes every sample of every question (`curate --disable-early-stop answer,converged,abandon`), then replays the
vote's stopping rule on them in the order of their indices. Printed as JSON: samples and tokens used
of those taken, and the questions whose answer, or whose being kept, differs from the vote of all.
"""
import argparse
import collections
import json
import math
import pathlib
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True)
    p.add_argument("--task", required=True)
    p.add_argument("--questions", required=True)
    p.add_argument("--samples", type=int, default=8)
    p.add_argument("--secondnature", default=str(ROOT / "target/release/secondnature"))
    return p.parse_args()


def chance_of_majority(a, b):
    """Pr[Bin(a+b+1, 1/2) <= a]."""
    m = a + b + 1
    return sum(math.comb(m, i) for i in range(a + 1)) / 2 ** m


def vote(keys, rule, samples, early):
    """Samples counted, the answer, whether it is kept."""
    tally = collections.Counter()
    for n, key in enumerate(keys + [None], start=0):
        top = [votes for _, votes in tally.most_common(2)] + [0, 0]
        reach = lambda votes, of: votes > 0 and votes >= rule["threshold"] * of - 1e-4
        settled = n >= min(rule["min_samples"], samples) and chance_of_majority(top[0], top[1]) >= rule["confidence"]
        hopeless = not reach(top[0] + samples - n, samples)
        if n == len(keys) or early and (settled or hopeless):
            answer = min((k for k, v in tally.items() if v == top[0]), default=None)
            kept = top[0] != top[1] and reach(top[0], n) and not (hopeless and not settled and n < samples)
            return n, answer, kept
        if key is not None:
            tally[key] += 1


def main():
    args = arguments()
    with tempfile.TemporaryDirectory() as out:
        subprocess.run([args.secondnature, "curate", "--quiet", "--model", args.model, "--task", args.task,
                        "--questions", args.questions, "--samples", str(args.samples), "--out", out,
                        "--disable-early-stop", "answer,converged,abandon"], check=True, stdout=subprocess.DEVNULL)
        rule = json.loads((pathlib.Path(out) / "task.json").read_text())["vote"]
        of = collections.defaultdict(dict)
        for line in open(pathlib.Path(out) / "samples.jsonl"):
            sample = json.loads(line)
            of[sample["question"]][sample["index"]] = sample
    used = tokens_used = taken = tokens = answers = kept_differ = kept = wrongly = 0
    for samples in of.values():
        samples = [samples[i] for i in sorted(samples)][:args.samples]
        keys = [s["answer"] and s["answer"]["key"] for s in samples]
        cost = [sum(step["generated_tokens"] for step in s["steps"]) for s in samples]
        n, answer, is_kept = vote(keys, rule, args.samples, True)
        _, of_all, all_kept = vote(keys, rule, args.samples, False)
        used, taken = used + n, taken + len(samples)
        tokens_used, tokens = tokens_used + sum(cost[:n]), tokens + sum(cost)
        answers += answer != of_all
        kept_differ += is_kept != all_kept
        kept += is_kept
        wrongly += is_kept and answer != of_all
    print(json.dumps(dict(questions=len(of), samples=taken, samples_used=used, tokens=tokens,
                          tokens_used=tokens_used, kept=kept, answers_that_differ=answers,
                          kept_answers_that_differ=wrongly, keeping_that_differs=kept_differ), indent=1))


main()
