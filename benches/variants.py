#!/usr/bin/env python3
"""Compares wordings of a task on a model: what each is worth before anything is trained.

  python benches/variants.py benches/variants/last-letters.json --model qwen.gguf --n 24
  python benches/variants.py benches/variants/last-letters.json --model qwen.gguf --only spell --n 96

A file of variants names a task, a question kind and, by name, what each variant changes of the task: a
JSON merge patch, in which null removes a key. Each variant is one `secondnature curate` without
training, and one of its System 1 prompt. Printed per variant: right answers per sample, by vote (a
question whose vote has not converged counts by its leader) and of System 1; the share of questions kept,
and of those the share labelled rightly; tokens per sample, and of System 1. Gold answers only measure.
Runs are kept under --out by model, variant's content and question set, so that nothing is sampled twice.
"""
import argparse
import hashlib
import json
import pathlib
import re
import subprocess
import unicodedata

ROOT = pathlib.Path(__file__).resolve().parents[1]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("variants", type=pathlib.Path, help="file of variants")
    p.add_argument("--model", type=pathlib.Path, required=True)
    p.add_argument("--kind", help="another kind of question than the file names")
    p.add_argument("--n", type=int, default=24)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--only", default="", help="only variants with one of these names, separated by commas")
    p.add_argument("--secondnature", type=pathlib.Path, default=ROOT / "target/release/secondnature")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "target/variants")
    p.add_argument("--options", default="--threads 2", help="more options for `curate`")
    p.add_argument("--show", type=int, default=0, help="print so many samples of each variant")
    return p.parse_args()


def patched(value, patch):
    """RFC 7396."""
    if not isinstance(patch, dict):
        return patch
    value = dict(value) if isinstance(value, dict) else {}
    for key, change in patch.items():
        if change is None:
            value.pop(key, None)
        else:
            value[key] = patched(value.get(key), change)
    return value


def load_task(name, beside):
    """A built-in task by name, or a file: beside the file of variants or from the repository's root."""
    places = (ROOT / f"src/task/data/{name}.json", beside / name, ROOT / name)
    return json.loads(next(place for place in places if place.is_file()).read_text())


def direct(task):
    """The task whose slow program is System 1, asked once."""
    vote = {"samples": 1, "min_samples": 1, "threshold": 0.01}
    changed = {k: v for k, v in task.items() if k != "perturbations"}
    return changed | {"system2": [{"max_tokens": 32, "temperature": 0, **task["system1"]}], "vote": vote}


def key(text):
    """Roughly when two answers are the same; the program's own rule knows more of markdown."""
    text = unicodedata.normalize("NFKD", str(text).casefold())
    text = "".join(c for c in text if not unicodedata.combining(c))
    return " ".join(re.sub(r"[^\w\s.+-]", " ", text).split()).strip(" .")


def curate(options, task, questions):
    """The run directory of `task` on `questions`, sampled now or earlier."""
    text = json.dumps(task, indent=1)
    name = hashlib.sha256((text + str(options.model.stem)).encode() + questions.read_bytes()).hexdigest()[:16]
    run = options.out / name
    if not (run / "curation.json").exists():
        run.mkdir(parents=True, exist_ok=True)
        (run / "variant.json").write_text(text)
        command = [options.secondnature, "curate", "--model", options.model, "--task", run / "variant.json"]
        command += ["--questions", questions, "--out", run / "run", "--quiet", *options.options.split()]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        # Where nothing is kept the program says so and fails; the samples are there all the same.
        if not (run / "run/curation.json").exists():
            raise SystemExit(done.stderr)
        (run / "curation.json").write_bytes((run / "run/curation.json").read_bytes())
    return run / "run"


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def figures(run, gold, swapped):
    """Shares in percent of one run; `swapped` maps answers of perturbed forms back."""

    def right(question, answer, form="none"):
        text = answer and answer["text"]
        text = swapped.get(form, {}).get(text, text)
        return text is not None and key(text) in gold[question]

    curation = json.loads((run / "curation.json").read_text())
    samples, verdicts = lines(run / "samples.jsonl"), lines(run / "verdicts.jsonl")
    of_all = lambda values: 100 * sum(values) / max(len(values), 1)
    generated = [sum(step["generated_tokens"] for step in s["steps"]) for s in samples]
    kept = [v for v in verdicts if v["kept"]]
    return {
        "sample": of_all([right(s["question"], s["answer"], s["perturbation"]) for s in samples]),
        "vote": of_all([right(v["question"], v.get("answer")) for v in verdicts]),
        "kept": of_all([v["kept"] for v in verdicts]),
        "precision": of_all([right(v["question"], v["answer"]) for v in kept]),
        "unread": of_all([s["answer"] is None for s in samples]),
        "samples": len(samples) / len(verdicts),
        "tokens": sum(generated) / max(len(generated), 1),
        "seconds": curation["seconds"],
        "labels": sorted({v["answer"]["key"] for v in kept}),
    }


def main():
    options = arguments()
    options.secondnature, options.out = options.secondnature.resolve(), options.out.resolve()
    file = json.loads(options.variants.read_text())
    base = load_task(file["task"], options.variants.parent)
    kind = options.kind or file["kind"]
    options.out.mkdir(parents=True, exist_ok=True)
    questions = options.out / f"{kind}-{options.n}-{options.seed}.jsonl"
    command = [options.secondnature, "questions", kind, "--n", options.n, "--seed", options.seed, "--split", "train"]
    questions.write_bytes(subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE).stdout)
    gold = {}
    for q in lines(questions):
        answers = q["answer"] if isinstance(q["answer"], list) else [q["answer"]]
        gold[q["id"]] = {key(a) for a in answers}
    print(f"{options.model.stem}, {options.n} of {kind}, seed {options.seed}\n")
    print("| variant | System 1 | one sample | vote | kept | labels right | unread | tokens: System 1, sample | seconds |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for name, patch in {"as it is": {}, **file["variants"]}.items():
        if options.only and name not in options.only.split(","):
            continue
        task = patched(base, patch)
        swapped = {p["name"]: p.get("answers", {}) for p in task.get("perturbations", [])}
        run = curate(options, task, questions)
        slow, fast = figures(run, gold, swapped), figures(curate(options, direct(task), questions), gold, {})
        shares = [fast["sample"], slow["sample"], slow["vote"], slow["kept"], slow["precision"], slow["unread"]]
        shown = [f"{share:.1f}" for share in shares]
        shown.append(f"{fast['tokens']:.1f}, {slow['tokens']:.1f} × {slow['samples']:.1f}")
        print("| " + " | ".join([name, *shown, f"{slow['seconds']:.0f}"]) + " |", flush=True)
        for sample in lines(run / "samples.jsonl")[: options.show]:
            print(json.dumps([sample["question"], sample["answer"], [s["text"] for s in sample["steps"]]]))


if __name__ == "__main__":
    main()
