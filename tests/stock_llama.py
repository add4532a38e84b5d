#!/usr/bin/env python3
"""Loads a run's adapter in a stock llama.cpp and compares its answers with the run's own.

The llama.cpp here is the prebuilt one in the PyPI package `xllamacpp`, which knows nothing of
secondnature: model and adapter are given to its server as any user would, the held-out questions
are asked through its chat endpoint at temperature 0, and the texts must be those that the run
recorded for the distilled model. Builds of llama.cpp round differently, so a few close calls may
fall the other way: at least 95 of 100 texts must be equal, and far fewer without the adapter.

    python3 tests/stock_llama.py RUN_DIR EVAL.jsonl [--limit N]
"""

import argparse
import json
import pathlib
import sys
import urllib.request

REQUIRED_SHARE = 0.95


def read_lines(path):
    return [json.loads(line) for line in pathlib.Path(path).read_text().splitlines() if line.strip()]


def start_server(model, adapter, threads):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_ctx = 1024
    params.n_parallel = 1
    params.warmup = False
    params.cpuparams.n_threads = threads
    if adapter:
        lora = xllamacpp.CommonAdapterLoraInfo()
        lora.path = str(adapter)
        lora.scale = 1.0
        params.lora_adapters = [lora]
    return xllamacpp.Server(params)


def ask(server, prompt, max_tokens):
    body = {
        "messages": [{"role": "user", "content": prompt}],
        "temperature": 0,
        "max_tokens": max_tokens,
        "cache_prompt": False,
    }
    request = urllib.request.Request(
        server.listening_address + "/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=300) as response:
        return json.load(response)["choices"][0]["message"]["content"]


def count_equal(model, adapter, questions, recorded, step, threads):
    server = start_server(model, adapter, threads)
    equal = 0
    for question in questions:
        text = question.get("question") or question["fields"]["question"]
        prompt = step["prompt"].replace("{{ question }}", text)
        equal += ask(server, prompt, step["max_tokens"]).strip() == recorded[question["id"]].strip()
    return equal


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=pathlib.Path)
    parser.add_argument("eval")
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    run = arguments.run
    model = json.loads((run / "report.json").read_text())["model"]["path"]
    step = json.loads((run / "task.json").read_text())["system1"]
    recorded = {
        a["question"]: a["text"]
        for a in json.loads((run / "evaluation" / "distilled.json").read_text())["answers"]
    }
    questions = read_lines(arguments.eval)[: arguments.limit]
    adapter = run / "adapter.gguf"
    with_adapter = count_equal(model, adapter, questions, recorded, step, arguments.threads)
    without = count_equal(model, None, questions, recorded, step, arguments.threads)
    n = len(questions)
    print(f"stock llama.cpp: {with_adapter} of {n} answers equal with the adapter, {without} without it")
    if with_adapter < REQUIRED_SHARE * n:
        sys.exit(f"expected at least {REQUIRED_SHARE:.0%} equal answers with the adapter")
    if without >= with_adapter:
        sys.exit("the adapter makes no difference; expected fewer equal answers without it")


if __name__ == "__main__":
    main()
