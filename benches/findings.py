#!/usr/bin/env python3
"""Does `secondnature preview` find faults where there are none?

  python benches/findings.py --model qwen2.5-coder-1.5b      # runs what is not in benches/findings.json yet
  python benches/findings.py table

A run is a kind of question and a program. It is a good one where at least half of the questions are kept, at
least 85% of the kept labels are right, and the vote is right more often than System 1. A good run may have
findings that are true and welcome, such as an opinion that moves some answers; the table lists all of them with
their counts, so that a reader can judge.
"""
import argparse
import itertools
import json
import subprocess

from programs import LARGE, MODELS, ROOT, SEED, circumstances, generate, gold_keys, key, parsed

RESULTS = ROOT / "benches/findings.json"
KINDS = ("biased-capitals", "biased-city-countries", "biased-currencies", "biased-languages", "biased-elements")
PROGRAMS = ("s2a.which-question.bare", "s2a.quiz.bare", "s2a.turns.bare", "rar-2.instead.bare", "biased-fact", "s2a.facts.conclude")
FEWEST_KEPT, PRECISION = 0.5, 0.85


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("command", nargs="?", choices=("run", "table"), default="run")
    p.add_argument("--model", default=LARGE, choices=MODELS)
    p.add_argument("--kinds", default=",".join(KINDS))
    p.add_argument("--programs", default=",".join(PROGRAMS))
    p.add_argument("--n", type=int, default=16, help="questions of a run")
    return parsed(p, "findings", "`preview`")


def rows():
    return json.loads(RESULTS.read_text()) if RESULTS.exists() else []


def is_good(row):
    right = row["kept_right"] >= PRECISION * row["kept"]
    return row["kept"] >= FEWEST_KEPT * row["questions"] and right and row["votes"] > row["system1"]


def run(options):
    options.work.mkdir(parents=True, exist_ok=True)
    for program, kind in itertools.product(options.programs.split(","), options.kinds.split(",")):
        if any((r["model"], r["task"], r["program"]) == (options.model, kind, program) for r in rows()):
            continue
        gold = options.work / f"{kind}.jsonl"
        by_id = {q["id"]: gold_keys(q) for q in generate(options, kind, options.n, "train", gold)}
        command = [options.secondnature, "preview", "--json", "--quiet", "--model", options.models / MODELS[options.model]]
        command += ["--task", program, "--questions", gold, "--n-questions", options.n, "--seed", SEED]
        done = subprocess.run([str(c) for c in (*command, *options.options.split())], capture_output=True, text=True)
        if not done.stdout:
            raise SystemExit(done.stderr.strip())
        seen = json.loads(done.stdout)
        verdicts = [shown["verdict"] for shown in seen["shown"]]
        kept = [v for v in verdicts if v["kept"]]
        right = [bool({key(v["answer"]["key"]), key(v["answer"]["text"])} & by_id[v["question"]]) for v in kept]
        row = {**circumstances(kind, options.model), "program": program, "questions": len(verdicts), "kept": len(kept),
               "kept_right": sum(right), **{name: round(value, 4) for name, value in seen["accuracy"].items()},
               "findings": [{k: f[k] for k in ("kind", "step", "count", "of", "message", "stops")} for f in seen["findings"]]}
        RESULTS.write_text(json.dumps([*rows(), row], indent=1, ensure_ascii=False) + "\n")
        print(kind, program, f"kept {len(kept)}, right {sum(right)}", row["system1"], row["votes"],
              "good" if is_good(row) else "", [f["kind"] for f in row["findings"]], flush=True)


def table():
    print("| questions | program | model | n | kept, right | System 1, vote | findings |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    good = [row for row in rows() if is_good(row)]
    for row in good:
        found = "; ".join(f"{f['kind']} {f['count']} of {f['of']}" for f in row["findings"]) or "none"
        print(f"| {row['task']} | {row['program']} | {row['model']} | {row['questions']} | {row['kept']}, {row['kept_right']} |"
              f" {100 * row['system1']:.0f}, {100 * row['votes']:.0f} | {found} |")
    print(f"\n{len(good)} good runs of {len(rows())}.")


if __name__ == "__main__":
    chosen = arguments()
    table() if chosen.command == "table" else run(chosen)
