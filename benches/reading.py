#!/usr/bin/env python3
"""Ways to read an answer, on the same questions and prompts: a marker, a pattern, a closing turn.

  python benches/reading.py --model qwen2.5-coder-0.5b
  python benches/reading.py table

Each task is asked by chain of thought with one prompt that ends in a request for a marker, and read in four
ways: by the marker, by a pattern of the usual endings, by the marker with a closing turn for the samples that
were not read, and by a closing turn always. A fifth way leaves the request out of the prompt. One sample of a
question has the same seed in all of them. Gold judges the samples afterwards. The result is one JSON file for a
model in benches/reading.
"""
import argparse
import collections
import json
import subprocess
import time

from programs import MODELS, ROOT, SEED, SMALL, TASKS, bare, circumstances, files_hash, generate, gold_keys, key, lines, parsed
from regret import mean

RESULTS = ROOT / "benches/reading"
COMPARED = ("irrelevant", "arithmetic", "policies", "tracking", "comparisons")
ASKED = ' Then write "Answer:" and the answer alone.'
PATTERN = r"(?i)(?:answer|result|total)(?:\s+is|\s*[:=])?[\s*:]*([^\n.*]+)"
CLOSINGS = {
    "number": "What is the answer? Answer with the number only.",
    "choice": "What is the answer? Answer with one word.",
    "text": "What is the answer? Answer with the name only.",
}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("command", nargs="?", choices=("run", "table"), default="run")
    p.add_argument("--model", default=SMALL, choices=MODELS)
    p.add_argument("--task", default=",".join(COMPARED), help="tasks, separated by commas")
    p.add_argument("--n", type=int, default=40, help="test questions of a task")
    p.add_argument("--samples", type=int, default=4, help="samples of a question")
    return parsed(p, "reading", "`curate`")


def rule_of(answer):
    kind, _, choices = answer.partition(":")
    rule = {"kind": kind}
    if choices:
        rule["choices"] = choices.split(",")
    if kind == "text":
        rule["max_words"] = 8
    return rule


def ways(task, samples):
    """Name of a way to read → task file."""
    rule = rule_of(TASKS[task][2])
    step = {"name": "reason", "prompt": "{{ question }}\nReason in two or three short sentences.", "max_tokens": 160}
    closing = {"prompt": CLOSINGS[rule["kind"]], "max_tokens": 24}
    asking = {**step, "prompt": step["prompt"] + ASKED}
    marked = {**asking, "marker": "Answer:"}

    def file(step, rule, **more):
        return {
            "name": task, "method": "chain-of-thought", "system2": [step], "answer": rule, "target": "answer",
            "system1": {"name": "system1", "prompt": "{{ question }}", "max_tokens": 24, "temperature": 0.0},
            "vote": {"samples": samples, "min_samples": samples, "threshold": 0.5, "confidence": 1}, **more,
        }

    return {
        "marker": file(marked, rule),
        "pattern": file(asking, {"kind": "pattern", "pattern": PATTERN}),
        "marker, closing turn where unread": file(marked, rule, closing={"when": "unread", **closing}),
        "closing turn": file(asking, rule, closing={"when": "always", **closing}),
        "closing turn, no marker asked for": file(step, rule, closing={"when": "always", **closing}),
    }


def measured(out, questions):
    """Figures of the samples in the run directory `out`."""
    gold = {q["id"]: gold_keys(q) for q in questions}
    votes, read, right, tokens, n = collections.defaultdict(collections.Counter), 0, 0, 0, 0
    for sample in lines(out / "samples.jsonl"):
        answer = sample.get("answer")
        n += 1
        tokens += sum(step["generated_tokens"] for step in sample["steps"])
        if answer:
            read += 1
            is_right = bool({key(answer["key"]), key(answer["text"])} & gold[sample["question"]])
            right += is_right
            votes[sample["question"]][answer["key"], is_right] += 1
    leaders = [max(counts, key=counts.get)[1] for counts in votes.values()]
    return {"samples": n, "read": read / n, "samples_right": right / n, "right_of_read": right / max(read, 1),
            "vote_right": sum(leaders) / len(questions), "tokens_per_sample": tokens / n}


def run(options):
    RESULTS.mkdir(exist_ok=True)
    for task in options.task.split(","):
        where = options.work / f"{task}--{options.model}"
        where.mkdir(parents=True, exist_ok=True)
        questions = generate(options, TASKS[task][0], options.n, "test", where / "gold.jsonl")
        figures, files = {}, []
        for number, (name, file) in enumerate(ways(task, options.samples).items()):
            path, out = where / f"{number}.json", where / str(number)
            path.write_text(json.dumps(file))
            files.append(path)
            command = [options.secondnature, "curate", "--force", "--quiet", "--model", options.models / MODELS[options.model]]
            command += ["--task", path, "--questions", bare(where / "gold.jsonl"), "--out", out, "--seed", SEED]
            begin = time.monotonic()
            done = subprocess.run([str(c) for c in (*command, *options.options.split())], capture_output=True, text=True)
            # Where nothing is kept the program says so and fails; the samples are there all the same.
            if not (out / "samples.jsonl").exists():
                raise SystemExit(done.stderr.strip())
            figures[name] = measured(out, questions) | {"seconds": round(time.monotonic() - begin, 1)}
            print(task, name, json.dumps(figures[name]), flush=True)
        result = {**circumstances(task, options.model), "prompts_sha256": files_hash(files), "questions": len(questions),
                  "seed": SEED, "ways": figures}
        (RESULTS / f"{task}--{options.model}.json").write_text(json.dumps(result, indent=1) + "\n")


def table():
    print("| task | model | way | read, % | right of those read, % | samples right, % | vote right, % | tokens a sample | s |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    found, of_way = [json.loads(file.read_text()) for file in sorted(RESULTS.glob("*.json"))], collections.defaultdict(list)
    for cell in found:
        for name, row in cell["ways"].items():
            of_way[name].append(row)
            print(f"| {cell['task']} | {cell['model']} | {name} | {columns(row)} |")
    for name, rows in of_way.items():
        print(f"| mean of {len(rows)} | | {name} | {columns({k: mean(r[k] for r in rows) for k in rows[0]})} |")


def columns(row):
    shares = [f"{100 * row[name]:.0f}" for name in ("read", "right_of_read", "samples_right", "vote_right")]
    return " | ".join([*shares, f"{row['tokens_per_sample']:.0f}", f"{row['seconds']:.0f}"])


if __name__ == "__main__":
    chosen = arguments()
    table() if chosen.command == "table" else run(chosen)
