#!/usr/bin/env python3
"""The results table: System 1, System 2, distilled, and distilled without the vote's filter.

  python benches/results.py --out target/results           # everything; resumes
  python benches/results.py --rows coin-flip --seeds 1

Each row is a task, a model and question sets generated here, whose training and test splits share no
entity. For each seed it runs `secondnature distill` twice: as it is, and on the first sample's answer of
every question instead of the vote (`--samples 1 --threshold 0.01`), which is what the filter is worth.
Gold answers only measure. Where distilling is refused, the row says why. Run directories are kept under
--out, so an interrupted table goes on where it was.

A second table asks what was distilled on questions with a wrong opinion the same questions without one,
with a right one, and doubted: a model that learned to contradict would lose there.
"""
import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
SMOL, QWEN = "smollm2-135m-instruct-q4_1.gguf", "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
TINY = ROOT / "fixtures/coin-flip-tiny-q8_0.gguf"
SMALL_FACT, SENTENCE, SMALL_JUDGE = (
    ROOT / f"fixtures/tasks/{name}.json" for name in ("biased-fact-small", "biased-fact-sentence", "pairwise-judge-small")
)

# A model so small learns at a rate that would wreck a large one.
FAST = ("--lr", "0.002", "--epochs", "16", "--patience", "4")

# What it learns of two hundred labels is best after an epoch at the usual rate, better at half of it.
GENTLE = ("--lr", "0.0001", "--epochs", "2")

# name, model, task, question kind, training questions, test questions, training options, seeds
ROWS = [
    ("coin flip, chain of thought", TINY, "coin-flip", "coin-flip", 600, 200, FAST, (1, 2, 3)),
    ("capitals with a wrong opinion, System 2 attention", SMOL, SMALL_FACT, "biased-capitals", 200, 96, (), (1, 2, 3)),
    ("the same, learning the name", QWEN, "biased-fact", "biased-capitals", 320, 96, (), (1,)),
    ("the same, learning the sentence", QWEN, SENTENCE, "biased-capitals", 320, 96, GENTLE, (1,)),
    ("the better of two answers, branch-solve-merge", QWEN, SMALL_JUDGE, "pairwise-judge", 120, 48, (), (2,)),
    ("arithmetic, chain of thought", SMOL, "arithmetic", "arithmetic", 60, 60, (), (1,)),
    ("the same", QWEN, "arithmetic", "arithmetic", 60, 40, (), (1,)),
]

# Kinds of question whose training must not cost those beside them.
BESIDE = {"biased-capitals": ("capitals", "capitals-right-opinion", "capitals-doubted")}


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--models", type=pathlib.Path, default=pathlib.Path.home() / ".cache/secondnature/models")
    p.add_argument("--secondnature", type=pathlib.Path, default=ROOT / "target/release/secondnature")
    p.add_argument("--out", type=pathlib.Path, default=ROOT / "target/results")
    p.add_argument("--rows", default="", help="only rows whose name, model or task holds this text")
    p.add_argument("--seeds", type=int, help="at most so many seeds a row")
    p.add_argument("--threads", type=int, help="as of secondnature; 1 where other programs compete for the cores")
    return p.parse_args()


def output(command):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE).stdout


def distill(options, model, task, sets, out, seed, more=()):
    """The report of one run; of a refused one, as far as it came."""
    command = [options.secondnature, "distill", "--model", model, "--task", task, "--questions", sets[0]]
    command += ["--eval", sets[1], "--out", out, "--seed", seed, "--quiet", *more]
    if options.threads:
        command += ["--threads", options.threads]
    done = subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    report = out / "report.json"
    if not report.exists():
        sys.exit(done.stderr)
    return json.loads(report.read_text()) | {"refused": done.stderr.strip() if done.returncode else None}


def place(options, row, seed):
    """The model of a row, and where its runs of a seed are kept."""
    model = row[1] if isinstance(row[1], pathlib.Path) else options.models / row[1]
    task, kind = pathlib.Path(row[2]).stem, row[3]
    # A task that asks another kind than its own needs a directory of its own as well.
    name = task if kind in (task, "biased-capitals") else f"{task}-{kind}"
    return model, options.out / f"{name}-{model.stem}-{seed}"


def measure(options, row, seed):
    name, _, task, kind, train, test, training, _ = row
    model, where = place(options, row, seed)
    where.mkdir(parents=True, exist_ok=True)
    sets = []
    for split, n in (("train", train), ("test", test)):
        sets.append(where / f"{split}.jsonl")
        sets[-1].write_bytes(output([options.secondnature, "questions", kind, "--n", n, "--seed", seed, "--split", split]))
    report = distill(options, model, task, sets, where / "run", seed, training)
    unfiltered = None
    if not report["refused"]:
        more = (*training, "--samples", "1", "--threshold", "0.01", "--force")
        unfiltered = distill(options, model, task, sets, where / "unfiltered", seed, more)
    return report, unfiltered


def figures(report, unfiltered):
    """What the table shows of one seed; percentages and tokens."""
    curation, evaluation = report["curation"], report.get("evaluation")
    shown = {"kept": 100 * curation["kept"] / curation["questions"]}
    if curation.get("precision") is not None:
        shown["precision"] = 100 * curation["precision"]
    if not evaluation:
        return shown
    one, two, new = evaluation["system1"], evaluation["system2"], evaluation["distilled"]
    shown |= {
        "system1": 100 * one["accuracy"],
        "sample": 100 * two["accuracy_per_sample"],
        "vote": 100 * two["accuracy"],
        "distilled": 100 * new["accuracy"],
        "tokens1": one["tokens_per_answer"],
        "tokens_sample": two["tokens_per_sample"],
        "tokens_vote": two["tokens_per_answer"],
        "tokens": new["tokens_per_answer"],
    }
    if unfiltered and unfiltered.get("evaluation"):
        shown["unfiltered"] = 100 * unfiltered["evaluation"]["distilled"]["accuracy"]
    return shown


def measure_beside(options, row, seed, run):
    """Direct answers before and after distilling, in percent right, to each kind beside the row's."""
    model, where = place(options, row, seed)
    shares = {}
    for kind in BESIDE.get(row[3], ()):
        copy, questions, result = (where / f"{kind}{end}" for end in ("", ".jsonl", ".json"))
        if not result.exists():
            n = ("--n", row[5], "--seed", seed, "--split", "test")
            questions.write_bytes(output([options.secondnature, "questions", kind, *n]))
            # What `evaluate` found on the row's own questions stays in the run, so a copy is asked. It
            # reasons too, which is not wanted here: one sample is the least.
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(run, copy, ignore=shutil.ignore_patterns("evaluation*", "lock", "train"))
            command = [options.secondnature, "evaluate", "--out", copy, "--model", model, "--eval", questions]
            result.write_bytes(output([*command, "--samples", "1", "--threshold", "0.01", "--json", "--quiet"]))
            shutil.rmtree(copy)
        found = json.loads(result.read_text())
        shares[kind] = [100 * found[who]["accuracy"] for who in ("system1", "distilled")]
    return shares


def print_beside(tables):
    """`tables` by name of a row and model: for each seed what `measure_beside` found."""
    print("\n| distilled on | model | asked | seeds | System 1 | distilled | change |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for (name, model), seeds in tables.items():
        for kind in seeds[0]:
            found = [{"one": s[kind][0], "new": s[kind][1], "change": s[kind][1] - s[kind][0]} for s in seeds]
            cells = [cell(found, key) for key in ("one", "new", "change")]
            print("| " + " | ".join([name, model, kind, str(len(seeds)), *cells]) + " |")


def cell(seeds, key):
    values = [s[key] for s in seeds if key in s]
    if not values:
        return "–"
    mean = f"{statistics.mean(values):.1f}"
    return mean if len(values) == 1 else f"{mean} ± {statistics.stdev(values):.1f}"


def main():
    options = arguments()
    print("| task | model | seeds | System 1 | one sample | vote | distilled | unfiltered | tokens: System 1, sample, vote, distilled | labels right | kept |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    notes, all_rows, tables = [], [], {}
    for row in ROWS:
        name, model, task = row[0], pathlib.Path(row[1]).stem, pathlib.Path(row[2]).stem
        if not any(options.rows in text for text in (name, model, task)):
            continue
        seeds = []
        for seed in row[-1][: options.seeds]:
            report, unfiltered = measure(options, row, seed)
            seeds.append(figures(report, unfiltered))
            if report["refused"]:
                notes.append(f"{name}, {model}, seed {seed}: {report['refused']}")
            elif beside := measure_beside(options, row, seed, place(options, row, seed)[1] / "run"):
                tables.setdefault((name, model), []).append(beside)
                seeds[-1]["beside"] = beside
        tokens = ", ".join(cell(seeds, k) for k in ("tokens1", "tokens_sample", "tokens_vote", "tokens"))
        cells = [cell(seeds, k) for k in ("system1", "sample", "vote", "distilled", "unfiltered")]
        right, kept = cell(seeds, "precision"), cell(seeds, "kept")
        print("| " + " | ".join([name, model, str(len(seeds)), *cells, tokens, right, kept]) + " |", flush=True)
        all_rows.append({"row": name, "model": model, "task": task, "seeds": seeds})
    if tables:
        print_beside(tables)
    print(*(f"\n{note}" for note in notes), sep="\n")
    (options.out / "results.json").write_text(json.dumps(all_rows, indent=1))


if __name__ == "__main__":
    main()
