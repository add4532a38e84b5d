#!/usr/bin/env python3
"""Labelling questions by vote against llama-server, in one run: same machine, model, questions,
prompts, sampling parameters, grammars, stop strings and answer rules.

  secondnature questions coin-flip --n 40 --seed 1 --split train > train.jsonl
  python benches/peers/llama_server_vote.py --model M.gguf --task coin-flip --questions train.jsonl

The peer is what one writes today: llama-server (the one in the PyPI package `xllamacpp`, installed
with jinja2 into target/peers if this Python lacks them) with as many slots and KV cells as
secondnature, continuous batching and prompt cache, a fixed number of samples a question, asked over
HTTP in two ways. `each`: as many threads as slots, one chat request a step of a sample. `n`: all
first steps of a question in one request for `n` completions, which then share their prompt; the
stronger peer, and the lesser known one. Both run before `secondnature curate` in every round.
Printed, as JSON, are medians over the rounds (precision: of all rounds together) and ratios.

What differs, by design: the peer takes every sample and ends one at its end of turn, `max_tokens`
or a stop string; secondnature also ends a sample whose answer is complete, stops a question whose
vote is decided, and computes the common beginning of all prompts once for all slots.

Seconds leave out loading the model. secondnature loads inside the seconds that it records, so those
of a run of one question and one token, the least of three, are subtracted (`load_seconds`). Its
tokens are those of finished samples, with those that a grammar left no choice about, which it does
not sample; samples that a decided vote broke off cost it time, but count for nothing. CPU seconds
are of the whole process, loading included; where other programs compete for the cores, they say more
than seconds, if `--threads 1` keeps llama.cpp's threads from spinning.

Checked in every run, and printed under "checks": both sides count the same tokens in the same
prompts, and the answer rules below read from secondnature's samples what it read itself.
"""
import argparse
import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time
import unicodedata
import zlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
OURS = "secondnature"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, type=pathlib.Path)
    p.add_argument("--task", required=True, help="a built-in task or a JSON file")
    p.add_argument("--questions", required=True, type=pathlib.Path)
    p.add_argument("--samples", type=int, default=8, help="per question; secondnature's most")
    p.add_argument("--slots", type=int, default=16)
    p.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    p.add_argument("--limit", type=int, help="only the first questions")
    p.add_argument("--rounds", type=int, default=1)
    p.add_argument("--only", choices=["peer", "ours"])
    p.add_argument("--secondnature", type=pathlib.Path, default=ROOT / "target/release/secondnature")
    p.add_argument("--ask", default="each,n", help="one request a sample, `n` samples in one, or both")
    p.add_argument("--context", type=int, help="the server's KV cells [default: 512 a slot, as secondnature]")
    p.add_argument("--kv", choices=["unified", "split"], default="unified")
    p.add_argument("--worker", type=int, metavar="SEED", help=argparse.SUPPRESS)
    return p.parse_args()


def read_task(args):
    """The task with defaults written out, as far as the peer needs it."""
    if args.task.endswith(".json"):
        task = json.loads(pathlib.Path(args.task).read_text())
    else:
        task = json.loads(subprocess.run([args.secondnature, "tasks", args.task], check=True,
                                         capture_output=True).stdout)
    step = dict(name="answer", system=None, max_tokens=256, temperature=0.7, top_p=1.0, top_k=0, min_p=0.0,
                stop=[], grammar=None, marker=None)
    task["system2"] = [step | given for given in task["system2"]]
    task["threshold"] = task.get("vote", {}).get("threshold", 0.75)
    return task


def read_questions(path):
    """Dictionaries of id, fields and gold."""
    lines = enumerate(path.read_text("utf-8-sig").split("\n"), 1)
    lines = [(n, line.strip()) for n, line in lines if line.strip()]
    questions = []
    for n, line in lines:
        q = json.loads(line) if lines[0][1].startswith("{") else dict(question=line)
        fields = dict(q.get("fields") or {})
        if q.get("question") is not None:
            fields["question"] = q["question"]
        gold = q.get("answer")
        gold = gold if isinstance(gold, list) else [] if gold is None else [gold]
        questions.append(dict(id=str(q.get("id", f"L{n}")), fields={k: str(v) for k, v in fields.items()},
                              gold=[str(g) for g in gold]))
    return questions


# Answer rules: src/task/normalize.rs and src/task/answer/*.rs in Python.

LETTERS = dict(zip("ßæœøđðłıþħ", ["ss", "ae", "oe", "o", "d", "d", "l", "i", "th", "h"]))
DECORATION = r"[\s*_`\"'“”„‘’«»#:;,!?()\[\]{}\-–—>=]+"
NUMBER = r"(?:\B[-−])?\$?(?:(?:[0-9]{1,3}(?:,[0-9]{3})+\b|[0-9]+)(?:\.[0-9]+)?|\.[0-9]+)"


def normalize(text):
    decomposed = unicodedata.normalize("NFKD", text)
    folded = "".join(c.lower() for c in decomposed if not "\u0300" <= c <= "\u036f")
    folded = "".join(LETTERS.get(c, c) for c in folded)
    digit = lambda c: "0" <= c <= "9"
    key = ""
    for i, c in enumerate(folded):
        before, after = folded[i - 1:i], folded[i + 1:i + 2]
        if c == "." and digit(before) and digit(after):
            key += c
        elif c in "'.`’‘ʼʻ¿¡\u200b\ufeff":
            pass
        elif c in "-−" and digit(after) and not before.isalnum():
            key += "-"
        elif (c in "-−‐‑–—_*,;:!?()[]{}\"“”„«»…。，、" or c == "#" and not before.isalnum() and not after.isalnum()
              or c.isspace() or unicodedata.category(c) == "Cc"):
            key += "" if key.endswith(" ") or not key else " "
        else:
            key += "σ" if c == "ς" else c
    return unicodedata.normalize("NFC", key.rstrip())


def without_thinking(text):
    """`None` where the thinking has not ended."""
    if "</think>" in text:
        return text.rsplit("</think>", 1)[1]
    return None if text.lstrip().startswith("<think>") else text


def first_line(text):
    return text.lstrip().split("\n", 1)[0].rstrip()


class Choice:
    def __init__(self, rule):
        self.choices = rule["choices"]
        named = [(choice, i) for i, choice in enumerate(self.choices)]
        named += [(alias, self.choices.index(choice)) for alias, choice in rule.get("aliases", {}).items()]
        phrases = {normalize(text): i for text, i in named}
        self.phrases = sorted(phrases.items(), key=lambda phrase: -len(phrase[0].encode()))

    def extract(self, text, marked):
        key = normalize(text)
        begins = lambda key, phrase: key == phrase or key.startswith(phrase + " ")
        letter = lambda phrase: len(phrase) == 1 and phrase.isalpha() and not marked
        leading = next(((p, i) for p, i in self.phrases if begins(key, p)), None)
        if leading and (not letter(leading[0]) or self.stands_alone(text, self.choices[leading[1]])):
            phrase, choice = leading
            rest = key[len(phrase):]
            if rest.startswith(" or ") and any(i != choice and begins(rest[4:], p) for p, i in self.phrases):
                return None
            return normalize(self.choices[choice])
        words = re.split(r"[\W_]+", text)
        named = {i for p, i in self.phrases
                 if (self.choices[i] in words if letter(p) else f" {p} " in f" {key} ")}
        return normalize(self.choices[named.pop()]) if len(named) == 1 else None

    def stands_alone(self, text, letter):
        rest = re.sub(r"^[\W_]+", "", text)
        if not rest.startswith(letter):
            return False
        rest = rest[len(letter):]
        return not rest.strip() or rest[0] == "\n" or not (rest[0].isalnum() or rest[0].isspace() or rest[0] in "'’")

    def key(self, text):
        choice = dict(self.phrases).get(normalize(text))
        return None if choice is None else normalize(self.choices[choice])


class Number:
    def __init__(self, rule):
        pass

    def extract(self, text, marked):
        line = first_line(text)
        start = re.sub(r"^[\W_]+", "", line)
        rest = start.lstrip("0123456789")
        if marked or len(rest) < len(start) and not rest.startswith((". ", ") ")):
            return self.key(line)
        return self.canonical(re.findall(NUMBER, text)[-1:])

    def key(self, text):
        result = re.findall(NUMBER, text.rsplit("=", 1)[1]) if "=" in text else []
        return self.canonical((result or re.findall(NUMBER, text))[:1])

    def canonical(self, found):
        if not found:
            return None
        whole, _, fraction = re.sub(r"[^0-9.]", "", found[0]).partition(".")
        plain = (whole.lstrip("0") or "0") + ("." + fraction).rstrip("0").rstrip(".")
        return ("-" if found[0][0] in "-−" and plain != "0" else "") + plain


class Text:
    def __init__(self, rule):
        self.patterns = [re.compile(pattern) for pattern in rule.get("patterns", [])]
        self.max_words, self.strip_articles = rule.get("max_words", 8), rule.get("strip_articles", True)

    def extract(self, text, marked):
        found = (pattern.search(text) for pattern in self.patterns)
        found = (match[1] for match in found if match and (match[1] or "").strip())
        text = self.surface(next(found, None) or first_line(text))
        return None if len(text.split(" ")) > self.max_words else self.key(text)

    def surface(self, text):
        trim_end = lambda text: re.sub(DECORATION + r"\Z", "", text)
        text = re.sub("^" + DECORATION, "", text)
        text = trim_end(text[:self.sentence_end(text)].split(" (", 1)[0])
        if text.endswith(".") and "." not in text[:-1].rsplit(" ", 1)[-1]:
            text = trim_end(text[:-1])
        return " ".join(word for word in (w.replace("**", "").replace("`", "") for w in text.split()) if word)

    def sentence_end(self, text):
        for stop in re.finditer(r"[.!?]", text):
            word = re.split(r"[\s.]", text[:stop.start()])[-1]
            abbreviation = stop[0] == "." and len(word) <= 2
            if word and not abbreviation and text[stop.end():].lstrip('*"”_')[:1].isspace():
                return stop.start()
        return text.find("\n") if "\n" in text else len(text)

    def key(self, text):
        key = normalize(text)
        if self.strip_articles:
            article = next((a for a in ("the ", "a ", "an ") if key.startswith(a)), "")
            key = key[len(article):]
        return key or None


def answer_rule(task):
    rule = dict(choice=Choice, number=Number, text=Text)[task["answer"]["kind"]](task["answer"])
    marker = (task["system2"][-1]["marker"] or "").strip()
    word, colon = (marker[:-1].rstrip(), r"[\s*_`]*[:：]") if marker.endswith(":") else (marker, "")
    marker = marker and re.compile("(?i)" + re.escape(word) + colon)

    def extract(completion):
        text = without_thinking(completion)
        if text is not None and marker:
            last = collections.deque(marker.finditer(text), 1)
            text = text[last[0].end():] if last else None
        return None if text is None else rule.extract(text, bool(marker))

    return extract, rule.key


def vote(keys, threshold):
    """The answer that is kept, or `None`: samples without an answer count against it, ties drop it."""
    (leader, votes), (_, second) = (collections.Counter(k for k in keys if k).most_common(2) + [(None, 0)] * 2)[:2]
    return leader if votes > second and votes >= threshold * len(keys) - 1e-4 else None


# The peer.

def start_server(args):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(args.model)
    params.n_parallel = args.slots
    params.n_ctx = args.context or max(512 * args.slots, 2048)
    params.kv_unified = args.kv == "unified"
    params.cont_batching = params.cache_prompt = True
    params.fit_params = False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = args.threads
    params.verbosity = 1
    return xllamacpp.Server(params)


class Client:
    def __init__(self, server):
        self.server = server  # It ends when nothing refers to it.
        self.host = server.listening_address.removeprefix("http://")

    def post(self, path, body):
        # A connection each: the server closes those that idle for seconds, as they do while it is busy.
        connection = http.client.HTTPConnection(self.host, timeout=3600)
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {text.decode()[:300]}")
        return json.loads(text)


def worker(args):
    import jinja2

    begin = time.perf_counter()
    client = Client(start_server(args))
    load_seconds = time.perf_counter() - begin
    task, questions = read_task(args), read_questions(args.questions)
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined)
    fed = collections.Counter()

    def body(question, index, steps):
        """Messages, and parameters of the step after `steps`."""
        step = task["system2"][len(steps)]
        values = question["fields"] | {s["name"]: (without_thinking(s["text"]) or "").strip() for s in steps}
        fill = lambda template: environment.from_string(template).render(values)
        messages = [dict(role="system", content=fill(step["system"]))] if step["system"] else []
        messages.append(dict(role="user", content=fill(step["prompt"])))
        seed = zlib.crc32(f"{args.worker}/{question['id']}/{index}/{len(steps)}".encode())
        keys = ["max_tokens", "temperature", "top_p", "top_k", "min_p", "stop"] + ["grammar"] * bool(step["grammar"])
        # Temperature before the filters, as secondnature and most others; llama-server has it last.
        return dict(messages=messages, chat_template_kwargs=dict(enable_thinking=False)), dict(
            {k: step[k] for k in keys}, samplers=["temperature", "top_k", "top_p", "min_p"], seed=seed,
            cache_prompt=True)

    def record(steps, text, prompt_tokens, generated_tokens, timings):
        fed["tokens"] += timings["prompt_n"]
        name = task["system2"][len(steps)]["name"]
        return steps + [dict(name=name, text=text, prompt_tokens=prompt_tokens, generated_tokens=generated_tokens)]

    def sample(question, index, steps=()):
        steps = list(steps)
        while len(steps) < len(task["system2"]):
            messages, parameters = body(question, index, steps)
            done = client.post("/v1/chat/completions", messages | parameters)
            usage, text = done["usage"], done["choices"][0]["message"]["content"] or ""
            steps = record(steps, text, usage["prompt_tokens"], usage["completion_tokens"], done["timings"])
        return dict(question=question["id"], index=index, steps=steps)

    def first_steps(question):
        """All first steps in one request. The chat endpoint counts the tokens of one choice only."""
        messages, parameters = body(question, 0, [])
        prompt = client.post("/apply-template", messages)["prompt"]
        done = client.post("/completion", parameters | dict(prompt=prompt, n=args.samples))
        done = done if isinstance(done, list) else [done]
        # Every completion reports the one prompt's timings.
        return [record([], d["content"], d["tokens_evaluated"], d["tokens_predicted"],
                       d["timings"] if d is done[0] else dict(prompt_n=0)) for d in done]

    begin = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(args.slots) as pool:
        if args.ask == "each":
            jobs = [pool.submit(sample, q, i) for q in questions for i in range(args.samples)]
        else:
            groups = concurrent.futures.ThreadPoolExecutor(-(-args.slots // args.samples) + 1)
            group = lambda q: [pool.submit(sample, q, i, steps) for i, steps in enumerate(first_steps(q))]
            jobs = [job for part in groups.map(group, questions) for job in part]
        samples = [job.result() for job in jobs]
    seconds = time.perf_counter() - begin
    print(json.dumps(dict(samples=samples, seconds=seconds, load_seconds=load_seconds, fed_tokens=fed["tokens"])))


# Both contestants.

def python_with_peer():
    wanted = "import xllamacpp, jinja2"
    if subprocess.run([sys.executable, "-c", wanted], capture_output=True).returncode == 0:
        return sys.executable
    home = ROOT / "target/peers/llama-server"
    python = home / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
    if subprocess.run([python, "-c", wanted], capture_output=True).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "xllamacpp", "jinja2"], check=True)
    return str(python)


def measured(command):
    """Standard output, and peak RSS in MB and CPU seconds."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = subprocess.Popen([str(part) for part in command], stdout=out, stderr=err)
        try:
            _, status, usage = os.wait4(child.pid, 0)
        except BaseException:
            child.kill()
            raise
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0), err.seek(0)
        if child.returncode != 0:
            sys.exit(f"{command[0]} failed:\n{err.read()[-2000:]}")
        return out.read(), dict(peak_rss_mb=usage.ru_maxrss * 1024 / 1e6, cpu_seconds=usage.ru_utime + usage.ru_stime)


def run_peer(ask, python, questions_file, seed):
    command = [python, __file__, *sys.argv[1:], "--questions", questions_file, "--ask", ask, "--worker", seed]
    out, used = measured(command)
    return json.loads(out.strip().splitlines()[-1]) | used


def curate(args, scratch, task, questions_file, seed, samples):
    """A fresh run directory, and what it used."""
    out = pathlib.Path(tempfile.mkdtemp(dir=scratch))
    _, used = measured([args.secondnature, "--quiet", "curate", "--model", args.model, "--task", task,
                       "--questions", questions_file, "--out", out, "--slots", args.slots, "--threads", args.threads,
                       "--samples", samples, "--seed", seed])
    return out, used


def run_ours(args, scratch, questions_file, seed):
    load = dict(name="load", system1=dict(prompt="a"), answer=dict(kind="text"), vote=dict(samples=1, min_samples=1),
                system2=[dict(prompt="a", max_tokens=1, temperature=1)])
    (scratch / "load.json").write_text(json.dumps(load))
    (scratch / "load.txt").write_text("a\n")
    seconds = lambda run: json.loads((run / "curation.json").read_text())["seconds"]
    lines = lambda path: [json.loads(line) for line in path.read_text().splitlines()]
    loads = [curate(args, scratch, scratch / "load.json", scratch / "load.txt", seed, 1) for _ in range(3)]
    load_seconds = min(seconds(run) for run, _ in loads)
    run, used = curate(args, scratch, args.task, questions_file, seed, args.samples)
    if seconds(run) < 2 * load_seconds:
        sys.exit(f"secondnature: {load_seconds:.2f} of {seconds(run):.2f} s are loading; ask more questions")
    return dict(samples=lines(run / "samples.jsonl"), verdicts=lines(run / "verdicts.jsonl"),
                curation=json.loads((run / "curation.json").read_text()),
                seconds=seconds(run) - load_seconds, load_seconds=load_seconds, **used)


def figures(run, task, questions, threshold):
    """What one run came to. Both sides' kept answers are judged by the rules above."""
    extract, key = answer_rule(task)
    if "verdicts" in run:
        kept = {v["question"]: v["answer"]["key"] for v in run["verdicts"] if v["kept"]}
    else:
        keys = collections.defaultdict(list)
        for sample in run["samples"]:
            keys[sample["question"]].append(extract(sample["steps"][-1]["text"]))
        kept = {question: vote(keys, threshold) for question, keys in keys.items()}
        kept = {question: answer for question, answer in kept.items() if answer}
    judged = [kept[q["id"]] in map(key, q["gold"]) for q in questions if q["id"] in kept and q["gold"]]
    steps = [step for sample in run["samples"] for step in sample["steps"]]
    tokens, minutes = sum(step["generated_tokens"] for step in steps), run["seconds"] / 60
    result = dict(
        questions=len(questions), settled_per_minute=len(questions) / minutes, kept=len(kept),
        kept_per_minute=len(kept) / minutes, right=sum(judged), judged=len(judged), samples=len(run["samples"]),
        sampled_tokens=tokens, sampled_tokens_per_s=tokens / run["seconds"], seconds=run["seconds"],
        prompt_tokens=sum(step["prompt_tokens"] for step in steps),
        load_seconds=run["load_seconds"], cpu_seconds=run["cpu_seconds"], peak_rss_mb=run["peak_rss_mb"])
    if "fed_tokens" in run:
        result["prompt_tokens_computed"] = run["fed_tokens"]
    return result


def checks(runs, task):
    """Whether both sides saw the same prompts, and read the same answers."""
    prompts = collections.defaultdict(dict)
    for name in runs:
        for sample in (s for run in runs[name] for s in run["samples"]):
            outputs = []
            for step in sample["steps"]:
                # Later prompts are comparable where earlier steps wrote the same.
                counts = prompts[sample["question"], step["name"], tuple(outputs)]
                counts["ours" if name == OURS else "peer"] = step["prompt_tokens"]
                outputs.append((without_thinking(step["text"]) or "").strip())
    both = {prompt: counts for prompt, counts in prompts.items() if len(counts) == 2}
    differ = [dict(question=p[0], step=p[1], **c) for p, c in both.items() if len(set(c.values())) > 1]
    extract, _ = answer_rule(task)
    ours = [s for run in runs.get(OURS, []) for s in run["samples"]]
    theirs = [extract(s["steps"][-1]["text"]) for s in ours]
    other = [dict(text=s["steps"][-1]["text"], ours=s["answer"], here=here) for s, here in zip(ours, theirs)
             if here != (s["answer"] or {}).get("key")]
    return dict(prompts=dict(compared=len(both), different=len(differ), first=differ[:3]),
                answers=dict(compared=len(ours), different=len(other), first=other[:3]))


def main():
    args = arguments()
    if args.worker is not None:
        return worker(args)
    task = read_task(args)
    peers = {} if args.only == "ours" else {f"llama-server {ask}": ask for ask in args.ask.split(",")}
    if "n" in peers.values() and args.samples > args.slots:
        sys.exit(f"--ask n: {args.samples} samples in one request need as many --slots, found {args.slots}")
    python = python_with_peer() if peers else None
    runs = {name: [] for name in [*peers, *([OURS] if args.only != "peer" else [])]}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        questions_file = scratch / "questions.jsonl"
        lines = [line for line in args.questions.read_text("utf-8-sig").splitlines() if line.strip()]
        questions_file.write_text("".join(line + "\n" for line in lines[:args.limit]))
        questions = read_questions(questions_file)
        for seed in range(args.rounds):
            for name in runs:
                run = run_peer(peers[name], python, questions_file, seed) if name in peers else \
                    run_ours(args, scratch, questions_file, seed)
                runs[name].append(run)
                print(f"{name}: {len(questions) / run['seconds'] * 60:.1f} questions/min", file=sys.stderr)
    result = {}
    for name in runs:
        rounds = [figures(run, task, questions, task["threshold"]) for run in runs[name]]
        result[name] = {f: round(statistics.median(r[f] for r in rounds), 2) for f in rounds[0]}
        right, judged = (sum(r[f] for r in rounds) for f in ["right", "judged"])
        result[name] |= dict(right=right, judged=judged, precision=round(right / judged, 3) if judged else None)
    ratios = ["settled_per_minute", "kept_per_minute", "sampled_tokens_per_s", "samples", "sampled_tokens",
              "cpu_seconds", "peak_rss_mb"]
    for name in peers if OURS in runs else []:
        ratio = lambda f: round(result[OURS][f] / result[name][f], 2) if result[name][f] else None
        result[f"{OURS} / {name}"] = {f: ratio(f) for f in ratios}
    print(json.dumps(result | dict(checks=checks(runs, task)), indent=1, ensure_ascii=False))


main()
