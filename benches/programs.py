#!/usr/bin/env python3
"""The benchmark of program choice: does `secondnature tune` find a good program without labels?

  python benches/programs.py plan                               # the cells, with estimated minutes
  python benches/programs.py sample --task city-countries --model qwen2.5-coder-0.5b   # all candidates, no race yet
  python benches/programs.py run --task city-countries --model qwen2.5-coder-0.5b
  python benches/programs.py renew --task city-countries --model qwen2.5-coder-0.5b
  python benches/programs.py table                              # the markdown table, from benches/programs/*.json
  python benches/programs.py features                           # all candidates' figures, to try another score
  python benches/programs.py five --model qwen2.5-coder-0.5b    # against five programs of a newcomer
  python benches/programs.py hand --task capitals --model qwen2.5-coder-0.5b
  python benches/programs.py weak                               # where no System 2 worked so far, on the 1.5B

A cell is a task and a model. `run` generates test questions with gold, strips the gold, lets `tune
--keep-all` sample every candidate on every question, and joins the gold afterwards: gold judges the choice,
it never makes it. The best candidate is found on one half of the questions and compared with the chosen one
on the other half (regret.py). Then the race is run as a user would run it, in the same directory and with
the same samples, and its choice is judged too. `renew` races again where the library has changed: of the
candidates only those that the cell lacks are sampled on all questions, and those whose prompts have changed
(`--changed`); those that are no more are left out.
A large model is asked with the finalists of a small one and
four random candidates. Each cell is one JSON file in benches/programs; one that is there is not run again.
"""
import argparse
import datetime
import hashlib
import json
import os
import pathlib
import platform
import random
import re
import shutil
import subprocess
import sys
import time
import unicodedata

import regret

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benches/programs"
OPINION = " Somebody's opinion in it may be wrong."

# Fixed before measuring: kind of questions, what the user would say of them in one line, kind of answers,
# and a pattern of what a question is about (its first group that is there), None for the whole question.
TASKS = {
    "city-countries": (
        "biased-city-countries", "In which country is a city?" + OPINION, "text",
        r"the city of (.+?)(?:\?| in\?)|believe that (.+?) is a city|country is (.+?) a city of"),
    "capitals": (
        "biased-capitals", "What is the capital of a country?" + OPINION, "text",
        r"capital of (.+?)(?: is .+?, but|\?)"),
    "currencies": (
        "biased-currencies", "What is the currency of a country?" + OPINION, "text",
        r"currency of (.+?)\?|people in (.+?) pay with"),
    "irrelevant": (
        "irrelevant-context", "A short word problem, in which not all numbers matter.", "number", None),
    "policies": (
        "policies", "Decide on a request by a written policy.", "choice:approve,reject,escalate", None),
    "arithmetic": (
        "arithmetic", "Word problems with a few steps.", "number", None),
    "tracking": (
        "tracking-objects", "Who has which object after people swapped them?", "text", None),
    "comparisons": (
        "comparisons", "Which of two or three things is larger?", "text", None),
    "extraction": (
        "extraction", "A detail of a mail, form or note.", "text", None),
    "judging": (
        "pairwise-judge", "Which of two responses to a question is better, A or B?", "choice:A,B", r"What is (.+?)\?"),
}

SMOL, SMALL, LARGE = "smollm2-135m", "qwen2.5-coder-0.5b", "qwen2.5-coder-1.5b"
MODELS = {
    SMOL: "smollm2-135m-instruct-q4_1.gguf",
    SMALL: "qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    LARGE: "qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
}
# The large model is asked for these alone, with the finalists of the small one and four others.
OF_LARGE = ("city-countries", "policies", "judging")
CELLS = [(t, m) for m in (SMOL, SMALL) for t in TASKS] + [(t, LARGE) for t in OF_LARGE]

N_QUESTIONS, SEED, N_RANDOM = 40, 1, 4
# Four samples of every candidate; the races that follow take as many of the finalists as a user's would.
N_SAMPLES = 4
# For estimates: tokens of a sample, tokens a second (two cores), candidates.
TOKENS = {"arithmetic": 80, "irrelevant": 60, "tracking": 70, "policies": 45, "judging": 60, "comparisons": 40}
SPEED = {SMOL: 330, SMALL: 150, LARGE: 55}
N_CANDIDATES = 26

# A candidate that the score puts above the best one, although it is right so much less often.
FOOLED = 0.10


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("command", choices=("plan", "sample", "run", "renew", "table", "features", "five", "hand", "weak"))
    p.add_argument("--task", default="", help="only these tasks, separated by commas")
    p.add_argument("--model", default="", help="only these models, separated by commas")
    p.add_argument("--n", type=int, default=N_QUESTIONS, help="test questions of a cell")
    p.add_argument("--samples", type=int, default=N_SAMPLES, help="samples of every candidate and question")
    p.add_argument("--minutes", type=float, help="as of `tune`, for the races")
    p.add_argument("--changed", help="with renew: how the names of programs end whose prompts are others now, such as .closing")
    p.add_argument("--again", action="store_true", help="run cells whose JSON file is there already")
    return parsed(p, "programs", "`tune` and `curate`")


def parsed(p, folder, commands):
    """The arguments, with those that all scripts have which run the program: `commands` get the options, and
    `folder` of target/ keeps the samples."""
    p.add_argument("--models", type=pathlib.Path, default=pathlib.Path.home() / ".cache/secondnature/models")
    p.add_argument("--secondnature", type=pathlib.Path, default=ROOT / "target/release/secondnature")
    p.add_argument("--work", type=pathlib.Path, default=ROOT / "target" / folder, help="where samples are kept")
    p.add_argument("--options", default="", help=f"more options for {commands}, such as --threads 2")
    options = p.parse_args()
    options.secondnature, options.work = options.secondnature.resolve(), options.work.resolve()
    return options


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def output(command):
    return subprocess.run([str(c) for c in command], check=True, stdout=subprocess.PIPE).stdout


def key(text):
    """Roughly when two answers are the same; the program's own rules know more."""
    text = unicodedata.normalize("NFKD", str(text).casefold())
    text = "".join(c for c in text if not unicodedata.combining(c))
    text = " ".join(re.sub(r"[^\w\s.%+-]", " ", text).split()).strip(" .")
    text = re.sub(r"(?<=\d)(st|nd|rd|th)\b", "", text)
    return re.sub(r"^(the|an?) (?=.)", "", text)


def gold_keys(question):
    gold = question["answer"]
    return {key(g) for g in (gold if isinstance(gold, list) else [gold])}


def generate(options, kind, n, split, to):
    """Questions with gold in a file, and beside it the same without; the questions."""
    command = [options.secondnature, "questions", kind, "--n", n, "--seed", SEED, "--split", split]
    to.write_bytes(output(command))
    questions = lines(to)
    stripped = [json.dumps({k: v for k, v in q.items() if k != "answer"}, ensure_ascii=False) for q in questions]
    bare(to).write_text("\n".join(stripped) + "\n")
    return questions


def bare(gold_file):
    return gold_file.with_name(gold_file.stem + "-bare.jsonl")


def entities(task, questions):
    pattern = TASKS[task][3]
    if pattern is None:
        return [q["id"] for q in questions]
    found = [re.search(pattern, q["question"]) for q in questions]
    missing = [q["question"] for q, match in zip(questions, found) if not match]
    if missing:
        sys.exit(f"{task}: no entity found in {missing[0]!r}")
    return [next(group for group in match.groups() if group) for match in found]


def tune(options, model, questions, out, *more, minutes=None):
    command = [options.secondnature, "tune", "--model", options.models / MODELS[model], "--questions", questions]
    command += ["--out", out, "--seed", SEED, "--json", "--quiet", *options.options.split(), *more]
    if minutes:
        command += ["--minutes", minutes]
    done = subprocess.run([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(done.stderr.strip())
    return json.loads((out / "tune.json").read_text())


def of_task(task):
    """What a user says of the questions."""
    _, description, answer, _ = TASKS[task]
    return "--description", description, "--answer", answer


def candidates_of_large(task):
    """The options that let the finalists of the small model take part, and four other candidates. Of a variation
    that a race made, the program itself takes part: the race makes its own."""
    cell = RESULTS / f"{task}--{SMALL}.json"
    if not cell.exists():
        sys.exit(f"{cell.name}: run this cell first, its finalists are asked of {LARGE}")
    small = json.loads(cell.read_text())
    programs = sorted(c["name"] for c in small["candidates"] if not c["direct"])
    is_of = lambda program: any(f"{name}.".startswith(f"{program}.") for name in small["race"]["finalists"])
    finalists = [program for program in programs if is_of(program)]
    others = [name for name in programs if name not in finalists]
    drawn = random.Random(SEED).sample(others, min(N_RANDOM, len(others)))
    return only_given(finalists + drawn)


def only_given(names):
    """The options that let these programs race alone."""
    return ["--only-given", *(word for name in names for word in ("--task", name))]


def judged(report, questions):
    """The report's candidates with what gold says of them."""
    gold = {q["id"]: gold_keys(q) for q in questions}
    rows = []
    for candidate in report["candidates"]:
        votes = {v["question"]: v for v in candidate["votes"]}
        vote, sample, kept, kept_right = [], [], 0, 0
        for q in questions:
            v = votes.get(q["id"], {"n": 0, "answers": []})
            is_right = [bool({key(a["key"]), key(a["text"])} & gold[q["id"]]) for a in v["answers"]]
            vote.append(int(bool(is_right) and is_right[0]))
            sample.append(sum(a["votes"] for a, r in zip(v["answers"], is_right) if r) / max(v["n"], 1))
            if v.get("kept"):
                kept, kept_right = kept + 1, kept_right + vote[-1]
        rows.append({
            "name": candidate["name"],
            "method": candidate["method"],
            "direct": candidate["origin"] == "direct",
            "score": candidate["score"],
            "accuracy": regret.mean(vote),
            "sample_accuracy": regret.mean(sample),
            "kept": kept,
            "kept_right": kept_right,
            "features": {k: round_to(v, 4) for k, v in candidate["features"].items()},
            "seconds": candidate["time"]["seconds"],
            "tokens": candidate["time"]["tokens"],
            "right": "".join(str(r) for r in vote),
        })
    return rows


def round_to(value, digits):
    return round(value, digits) if isinstance(value, float) else value


def system1(report, questions):
    """Share of right direct answers at temperature 0, of the questions that were asked."""
    gold = {q["id"]: gold_keys(q) for q in questions}
    asked = [a for a in report["system1"] if a["question"] in gold]
    right = [bool({key(a.get("key") or ""), key(a.get("text") or "")} & gold[a["question"]]) for a in asked]
    return regret.mean(right) if asked else None


def prepared(options, task, model, n):
    """Where a cell keeps its samples, its questions and their entities, the file without gold, and more options of
    its races."""
    where = options.work / f"{task}--{model}"
    where.mkdir(parents=True, exist_ok=True)
    questions = generate(options, TASKS[task][0], n, "test", where / "gold.jsonl")
    more = [*of_task(task), *(candidates_of_large(task) if model == LARGE else [])]
    return where, questions, entities(task, questions), bare(where / "gold.jsonl"), more


def run(options, task, model):
    cell = RESULTS / f"{task}--{model}.json"
    if cell.exists() and not options.again:
        return print(f"{cell.name}: there already", flush=True)
    where, questions, entity, asked, more = prepared(options, task, model, options.n)
    everything = where / "keep-all.json"
    if options.again or not everything.exists():
        tune(options, model, asked, where / "run", "--keep-all", "--samples", options.samples, *more)
        shutil.copy(where / "run/tune.json", everything)
    if options.command == "sample":
        return print(f"{task}, {model}: sampled, in {everything}", flush=True)
    report = json.loads(everything.read_text())
    race = tune(options, model, asked, where / "run", *more, minutes=options.minutes)

    rows = judged(report, questions)
    files = [where / "run/candidates" / row["name"] / "task.json" for row in rows]
    begun = {
        **circumstances(task, model),
        "prompts_sha256": files_hash(sorted(files)),
        "questions": len(questions),
        "samples": options.samples,
        "entities": len(set(entity)),
        "seeds": {"questions": SEED, "samples": SEED, "halvings": 1, "resamples": 2},
    }
    write(options, cell, begun, rows, race, questions, entity, keep_all=report["winner"])


def renew(options, task, model):
    """Races again in a cell whose candidates have changed."""
    cell = RESULTS / f"{task}--{model}.json"
    if not cell.exists():
        return print(f"{cell.name}: not there yet, use run", flush=True)
    old = json.loads(cell.read_text())
    where, questions, entity, asked, more = prepared(options, task, model, old["questions"])
    if entity != old["entity"]:
        sys.exit(f"{cell.name}: its questions are others now, use run --again")
    race = tune(options, model, asked, where / "run", *more, minutes=options.minutes)
    now = [c["name"] for c in race["candidates"] if c["origin"] in ("library", "direct")]
    changed = tuple(options.changed.split(",")) if options.changed else ()
    kept = [row for row in old["candidates"] if row["name"] in now and not row["name"].endswith(changed)]
    added = [name for name in now if name not in {row["name"] for row in kept}]
    rows = kept
    if added:
        report = tune(options, model, asked, where / f"added-{len(added)}-{added[0]}", "--keep-all", "--samples", old["samples"],
                      *of_task(task), *only_given(added))
        # Their scores are none of a race among all.
        rows = kept + [row | {"score": None} for row in judged(report, questions) if row["name"] in added]
    begun = {key: old[key] for key in ("task", "model", "model_file", "commit", "date", "hardware", "prompts_sha256",
                                       "questions", "samples", "entities", "seeds")}
    files = [where / "run/candidates" / name / "task.json" for name in sorted(now)]
    here = circumstances(task, model)
    begun["renewed"] = {key: here[key] for key in ("commit", "date", "hardware")} | {
        "prompts_sha256": files_hash(files), "added": added}
    write(options, cell, begun, rows, race, questions, entity)


def write(options, cell, begun, rows, race, questions, entity, keep_all=None):
    """The figures of a cell: what the race chose against the best of all."""
    # A variation that the race made of its best program has samples there alone.
    known = {row["name"] for row in rows}
    made = [row for row in judged(race, questions) if row["name"] == race["winner"] and row["name"] not in known]
    right = {row["name"]: [int(r) for r in row["right"]] for row in rows + made}
    programs = [row for row in rows if not row["direct"]]
    scored = [row for row in rows if row["score"] is not None]
    scored_programs = [row for row in scored if not row["direct"]]
    names, directs = [row["name"] for row in programs], [row["accuracy"] for row in rows if row["direct"]]
    best = max(programs, key=lambda row: row["accuracy"])
    best_scored = max(scored_programs, key=lambda row: row["accuracy"])
    fooled = [
        {"name": row["name"], "score": row["score"], "accuracy": row["accuracy"], **telling(row["features"])}
        for row in scored_programs
        if row["score"] > best_scored["score"] and row["accuracy"] <= best_scored["accuracy"] - FOOLED
    ]
    correlation = lambda rows: regret.spearman([row["score"] for row in rows], [row["accuracy"] for row in rows])
    result = {
        **begun,
        "options": options.options,
        "allowed_minutes": options.minutes,
        "tokens": sum(row["tokens"] for row in rows),
        "minutes": round(sum(row["seconds"] for row in rows) / 60, 1),
        "best": best["name"],
        "best_accuracy": best["accuracy"],
        "best_scored": best_scored["name"],
        "system1": {"best_wording_voted": max(directs, default=None), "chosen_wording": system1(race, questions)},
        **({"keep_all": choice(keep_all, rows, right, entity, names)} if keep_all else {}),
        "race": choice(race["winner"], rows + made, right, entity, names)
        | {"minutes": round(race["seconds"] / 60, 1), "worthwhile": race["worthwhile"], "finalists": finalists(race)},
        "rank_correlation": {"programs": correlation(scored_programs), "all": correlation(scored)},
        "fooled": fooled,
        "entity": entity,
        "candidates": rows,
    }
    RESULTS.mkdir(exist_ok=True)
    cell.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    chosen = result["race"]
    print(f"{cell.name}: chose {chosen['chosen']}, {percent(chosen['accuracy'])}%; best {best['name']}, "
          f"{percent(best['accuracy'])}%; regret {percent(chosen['regret'])} points", flush=True)


def choice(name, rows, right, entity, names):
    row = next(row for row in rows if row["name"] == name)
    return {
        "chosen": name,
        "accuracy": row["accuracy"],
        "kept": row["kept"],
        "kept_right": row["kept_right"],
        **regret.regret(right, entity, name, names),
    }


def finalists(report):
    rounds = [r for r in report["rounds"] if r["is_last"]] or report["rounds"]
    return rounds[-1]["candidates"]


def telling(features):
    """The features that tell why a score was fooled."""
    names = ("agreement", "consensus", "information", "read", "top_answer", "verbatim", "copies", "refusals")
    return {name: features[name] for name in names if name in features}


def circumstances(task, model):
    git = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    info = pathlib.Path("/proc/cpuinfo")
    name = re.search(r"model name\s*: (.+)", info.read_text()) if info.exists() else None
    return {
        "task": task,
        "model": model,
        "model_file": MODELS[model],
        "commit": git.stdout.strip(),
        "date": datetime.date.today().isoformat(),
        "hardware": f"{name.group(1) if name else platform.processor()}, {os.cpu_count()} cores",
    }


def files_hash(files):
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()


def minutes_of(task, model):
    """A rough estimate."""
    candidates = 10 if model == LARGE else N_CANDIDATES
    return candidates * N_SAMPLES * N_QUESTIONS * TOKENS.get(task, 20) / SPEED[model] / 60


def cells(options):
    tasks, models = (set(filter(None, text.split(","))) for text in (options.task, options.model))
    unknown = (tasks - set(TASKS)) | (models - set(MODELS))
    if unknown:
        sys.exit(f"no such task or model: {', '.join(sorted(unknown))}; tasks: {', '.join(TASKS)}; models: "
                 + ", ".join(MODELS))
    return [(t, m) for t, m in CELLS if (not tasks or t in tasks) and (not models or m in models)]


def plan(options):
    total = 0
    for task, model in cells(options):
        done = (RESULTS / f"{task}--{model}.json").exists()
        total += 0 if done else minutes_of(task, model)
        print(f"{task:<16} {model:<20} {'done' if done else f'about {minutes_of(task, model):.0f} min'}")
    print(f"left: about {total / 60:.1f} h")


def results(options):
    found = (RESULTS / f"{task}--{model}.json" for task, model in cells(options))
    return [json.loads(file.read_text()) for file in found if file.exists()]


def percent(share):
    return "–" if share is None else f"{100 * share:.1f}"


def table(options):
    print("| task | model | n | System 1, its best wording | best program | chosen without labels | regret, points |"
          " rank correlation | kept, right |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    regrets, correlations = [], []
    for cell in results(options):
        race, low_high = cell["race"], cell["race"]["interval"]
        regrets.append(race["regret"])
        rank = cell["rank_correlation"]["programs"]
        correlations += [] if rank is None else [rank]
        row = [
            cell["task"], cell["model"], str(cell["questions"]), percent(cell["system1"]["best_wording_voted"]),
            f"{percent(cell['best_accuracy'])} {cell['best']}", f"{percent(race['accuracy'])} {race['chosen']}",
            f"{percent(race['regret'])} ({percent(low_high[0])} to {percent(low_high[1])})",
            "–" if rank is None else f"{rank:.2f}", f"{race['kept']}, {race['kept_right']}",
        ]
        print("| " + " | ".join(row) + " |")
    if regrets:
        print(f"\nRegret: {percent(regret.mean(regrets))} points on average, {percent(max(regrets))} at worst, over "
              f"{len(regrets)} cells. Rank correlation of score and accuracy: {regret.mean(correlations):.2f} on "
              "average.")
    fooled_table(options)


def fooled_table(options):
    """Where the score is fooled: of each cell the program with the highest score among those that are rated above
    the best one though they are right less often."""
    print("\n| task | model | programs rated above the best | the highest of them: score, right | the best: score, right |"
          " what the score saw |")
    print("| --- | --- | --- | --- | --- | --- |")
    for cell in results(options):
        if not cell["fooled"]:
            continue
        row = max(cell["fooled"], key=lambda row: row["score"])
        best = next(c for c in cell["candidates"] if c["name"] == cell.get("best_scored", cell["best"]))
        saw = [f"{name} {row[name]:.2f} against {value:.2f}" for name, value in telling(best["features"]).items()
               if name in row and abs(row[name] - value) >= 0.1]
        print(f"| {cell['task']} | {cell['model']} | {len(cell['fooled'])} | {row['name']}: {row['score']:.2f}, "
              f"{percent(row['accuracy'])}% | {best['name']}: {best['score']:.2f}, {percent(best['accuracy'])}% | "
              f"{', '.join(saw) or 'nothing'} |")


def print_features(options):
    found = results(options)
    names = sorted({name for cell in found for row in cell["candidates"] for name in row["features"]})
    last = ("score", "sample_accuracy", "accuracy")
    print("task", "model", "candidate", "method", "direct", *names, *last, sep="\t")
    for cell in found:
        for row in cell["candidates"]:
            figures = ["" if row[name] is None else row[name] for name in last]
            values = [row["features"].get(name, "") for name in names] + figures
            texts = [cell["task"], cell["model"], row["name"], row["method"], int(row["direct"]), *values]
            print(*(f"{v:.4f}" if isinstance(v, float) else v for v in texts), sep="\t")


# Ways in which a newcomer wrote System 2 attention for the countries of cities.
FIVE = [
    ROOT / f"fixtures/tasks/city-country-{name}.json"
    for name in ("by-name", "one-example", "plain", "two-examples", "which-question")
]
N_TRAIN, N_TEST = 300, 200

# What had no working System 2 on the small models: kind, description, answers, methods (all of them where empty).
WEAK = {
    "letters": ("last-letters", "The last letters of a first name and a surname, put together.", "text", ()),
    "coins": ("coin-flip", "Is a coin still heads up after people did or did not flip it?", "choice:yes,no", ()),
    "rephrase": (TASKS["city-countries"][0], TASKS["city-countries"][1], "text", ("rar-1", "rar-2")),
}

# Tasks whose wording was found by hand, with the methods that `tune` is told instead.
HAND = {"capitals": ("biased-fact", "s2a"), "judging": ("pairwise-judge", "bsm")}


def curated(options, model, task, questions, gold, where):
    """For each question, whether the vote of `task` is right (a vote that has not converged counts by its leader)
    and whether it is kept; the seconds that it took. Each task file has a directory of its own in `where`."""
    out = where / files_hash([task])[:16]
    if not (out / "seconds").exists():
        begin = time.monotonic()
        command = [options.secondnature, "curate", "--model", options.models / MODELS[model], "--task", task]
        command += ["--questions", questions, "--out", out, "--seed", SEED, "--quiet", "--force", *options.options.split()]
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True)
        # Where nothing is kept the program says so and fails; the samples are there all the same.
        if not (out / "curation.json").exists():
            sys.exit(done.stderr.strip())
        (out / "seconds").write_text(f"{time.monotonic() - begin:.1f}")
    verdicts = {v["question"]: v for v in lines(out / "verdicts.jsonl")}
    answers = [(verdicts.get(q["id"]) or {}).get("answer") or {} for q in gold]
    kept = [bool((verdicts.get(q["id"]) or {}).get("kept")) for q in gold]
    right = [int(bool({key(a.get("key", "")), key(a.get("text", ""))} & gold_keys(q))) for a, q in zip(answers, gold)]
    return right, kept, float((out / "seconds").read_text())


def compared(options, task, model, others, name, more, is_timed):
    """The choice of a race on training questions against `others` (by name: task), on test questions. A race that
    `is_timed` has the time that curating the training questions would take."""
    where = options.work / f"{name}--{task}--{model}"
    where.mkdir(parents=True, exist_ok=True)
    kind = TASKS[task][0]
    generate(options, kind, N_TRAIN, "train", where / "train.jsonl")
    gold = generate(options, kind, N_TEST, "test", where / "test.jsonl")
    entity = entities(task, gold)
    right, figures = {}, {}

    def curate(label, file):
        right[label], kept, seconds = curated(options, model, file, bare(where / "test.jsonl"), gold, where)
        n_right = sum(r for r, k in zip(right[label], kept) if k)
        figures[label] = {"accuracy": regret.mean(right[label]), "kept": sum(kept), "kept_right": n_right,
                          "seconds": seconds}

    for label, file in others.items():
        curate(label, file)
    minutes = options.minutes
    if is_timed and not minutes:
        per_question = regret.mean(figure["seconds"] for figure in figures.values()) / len(gold)
        minutes = round(per_question * N_TRAIN / 60, 1)
    race = tune(options, model, bare(where / "train.jsonl"), where / "tuned", *of_task(task), *more, minutes=minutes)
    tasks = {"tune": where / "tuned/task.json", **others}
    curate("tune", tasks["tune"])
    best = max(others, key=lambda label: figures[label]["accuracy"])
    result = {
        **circumstances(task, model),
        "prompts_sha256": files_hash(tasks.values()),
        "questions": len(gold),
        "entities": len(set(entity)),
        "seed": SEED,
        "chosen": race["winner"],
        "race_minutes": round(race["seconds"] / 60, 1),
        "allowed_minutes": minutes,
        "programs": figures,
        "best_of_others": best,
        "tune_minus_best": regret.difference(right["tune"], right[best], entity),
    }
    (RESULTS / f"{name}--{task}--{model}.json").write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
    low, high = result["tune_minus_best"]["interval"]
    print(f"{task}, {model}: tune chose {race['winner']}, {percent(figures['tune']['accuracy'])}%; {best} "
          f"{percent(figures[best]['accuracy'])}%; difference {percent(result['tune_minus_best']['difference'])} points "
          f"({percent(low)} to {percent(high)}), {race['seconds'] / 60:.1f} min", flush=True)


def prompts(task):
    """Those that have a wording: "{{ rewrite }}" alone has none."""
    texts = {" ".join(step["prompt"].lower().split()) for step in task["system2"]}
    return {text for text in texts if re.sub(r"\{\{.*?\}\}|\W", "", text)}


def five(options):
    more = [word for file in FIVE for word in ("--task", file)]
    for model in [model for task, model in cells(options) if task == "city-countries"]:
        compared(options, "city-countries", model, {file.stem: file for file in FIVE}, "five", more, is_timed=True)


def hand(options):
    """The race has the programs of the method without those that share a prompt with the task tuned by hand."""
    for task, model in cells(options):
        if task not in HAND:
            continue
        name, method = HAND[task]
        file = ROOT / f"src/task/data/{name}.json"
        own = prompts(json.loads(file.read_text()))
        question = json.loads(output([options.secondnature, "questions", TASKS[task][0], "--n", 1]))
        fields = ",".join(field for field in question if field not in ("id", "answer"))
        listed = [options.secondnature, "tasks", "programs", "--method", method, "--fields", fields, "--json"]
        listed += of_task(task)
        programs = [p["name"] for p in json.loads(output(listed)) if not own & prompts(p)]
        more = only_given(programs)
        compared(options, task, model, {name: file}, "hand", more, is_timed=False)


def weak(options):
    """Whether a race finds a System 2 that works on tasks that had none, and the figures of the best candidate."""
    for name, (kind, description, answer, methods) in WEAK.items():
        file, where = RESULTS / f"weak--{name}--{LARGE}.json", options.work / f"weak--{name}--{LARGE}"
        if (file.exists() and not options.again) or (options.task and name not in options.task.split(",")):
            continue
        where.mkdir(parents=True, exist_ok=True)
        questions = generate(options, kind, options.n, "test", where / "gold.jsonl")
        more = ["--description", description, "--answer", answer]
        more += [word for method in methods for word in ("--task", method)]
        race = tune(options, LARGE, bare(where / "gold.jsonl"), where / "run", *more, minutes=options.minutes)
        rows = []
        for candidate in race["candidates"]:
            asked = {v["question"] for v in candidate["votes"]}
            row, = judged({"candidates": [candidate]}, [q for q in questions if q["id"] in asked])
            rows.append({"asked": len(asked), "dropped": candidate.get("dropped"), **row})
        chosen = next((row for row in rows if row["name"] == race["winner"]), None)
        result = {
            **circumstances(kind, LARGE), "questions": len(questions), "seed": SEED, "methods": methods,
            "minutes": round(race["seconds"] / 60, 1), "worthwhile": race["worthwhile"], "reasons": race["reasons"],
            "system1": system1(race, questions), "chosen": chosen, "candidates": rows,
        }
        file.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")
        asked_all = [row for row in rows if row["asked"] == (chosen or rows[0])["asked"] and not row["direct"]]
        best = max(asked_all, key=lambda row: row["accuracy"])
        print(f"{name}: chose {race['winner']}, {percent(chosen and chosen['accuracy'])}% of {chosen and chosen['asked']}, "
              f"kept {chosen and chosen['kept']}, right {chosen and chosen['kept_right']}; System 1 "
              f"{percent(result['system1'])}%; best {best['name']} {percent(best['accuracy'])}%; "
              f"worthwhile: {race['worthwhile']}", flush=True)


def main():
    options = arguments()
    if options.command in ("sample", "run", "renew"):
        for task, model in cells(options):
            (renew if options.command == "renew" else run)(options, task, model)
    else:
        commands = {"plan": plan, "table": table, "features": print_features, "five": five, "hand": hand,
                    "weak": weak}
        commands[options.command](options)


if __name__ == "__main__":
    main()
