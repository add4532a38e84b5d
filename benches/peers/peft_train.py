#!/usr/bin/env python3
"""Training against PyTorch + PEFT, in one run: same machine, model, rows, rank and modules.

  python benches/peers/peft_train.py --model smollm2-135m-instruct-q4_1.gguf
  python benches/peers/peft_train.py --model M.gguf --examples run/train/examples.jsonl

Installs torch, transformers, peft and gguf into target/peers if this Python lacks them. Each round
runs every contestant once, in its own process; printed are medians over the rounds and ratios.

What differs, by design: PEFT trains an unquantized copy of the same weights (as it must), computes
logits at every token and pads rows to the longest; secondnature computes logits where a loss is and
shared prefixes once. Rows of random tokens share nothing and have one length, so there only the
logits differ; --target-tokens sets how many of a row's tokens carry a loss in both.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", required=True, type=pathlib.Path)
    p.add_argument("--examples", type=pathlib.Path, help="real examples instead of random rows")
    p.add_argument("--rows", type=int, default=16)
    p.add_argument("--row-tokens", type=int, default=64)
    p.add_argument("--target-tokens", type=int, default=4)
    p.add_argument("--rank", type=int, default=16)
    p.add_argument("--steps", type=int, default=5)
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--dtypes", default="bf16,f32")
    p.add_argument("--recompute", default="never,always")
    p.add_argument("--worker", help=argparse.SUPPRESS)
    return p.parse_args()


def peak_rss_mb():
    for line in open("/proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e6


def linear_gflops(torch, dtype, tokens):
    """oneDNN's rate on the widest linear layer of SmolLM2-135M."""
    x, layer = torch.randn(tokens, 576, dtype=dtype), torch.nn.Linear(576, 1536, bias=False, dtype=dtype)
    seconds = []
    with torch.no_grad():
        for _ in range(15):
            begin = time.perf_counter()
            layer(x)
            seconds.append(time.perf_counter() - begin)
    return 2 * tokens * 576 * 1536 / statistics.median(seconds) / 1e9


def batches(args, torch):
    """Padded batches: ids, labels, mask; and tokens fed."""
    if args.examples:
        rows = [json.loads(line) for line in open(args.examples)]
        rows = [(r["prompt"], r["target"]) for r in rows]
    else:
        gen = torch.Generator().manual_seed(0)
        # The last target is predicted, not fed: 64 tokens fed are rows of 65.
        draw = lambda n: torch.randint(0, 40_000, (n,), generator=gen).tolist()
        prompt = args.row_tokens + 1 - args.target_tokens
        rows = [(draw(prompt), draw(args.target_tokens)) for _ in range(args.rows)]
    for i in range(0, len(rows), args.rows):
        part = rows[i:i + args.rows]
        width = max(len(p) + len(t) for p, t in part)
        pad = lambda row, value: row + [value] * (width - len(row))
        yield dict(
            input_ids=torch.tensor([pad(p + t, 0) for p, t in part]),
            labels=torch.tensor([pad([-100] * len(p) + t, -100) for p, t in part]),
            attention_mask=torch.tensor([pad([1] * (len(p) + len(t)), 0) for p, t in part]),
        ), len(part), sum(len(p) + len(t) - 1 for p, t in part)


def worker(args):
    os.environ["HF_HUB_OFFLINE"] = "1"
    import torch
    import transformers
    from peft import LoraConfig, get_peft_model

    transformers.utils.logging.set_verbosity_error()
    dtype = dict(bf16=torch.bfloat16, f32=torch.float32)[args.worker]
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(args.model.resolve().parent), gguf_file=args.model.name, dtype=dtype)
    model = get_peft_model(model, LoraConfig(
        r=args.rank, lora_alpha=2 * args.rank, target_modules=MODULES, task_type="CAUSAL_LM"))
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    data = list(batches(args, torch))
    steps = data if args.examples else data * args.steps
    seconds, losses = [], []
    for inputs, _, _ in [steps[0]] + steps:
        begin = time.perf_counter()
        optimiser.zero_grad()
        loss = model(**inputs).loss
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - begin)
    seconds = seconds[1:]
    total = sum(seconds) if args.examples else statistics.median(seconds) * len(steps)
    peak = peak_rss_mb()
    print(json.dumps(dict(
        tokens_per_s=sum(t for _, _, t in steps) / total,
        examples_per_s=sum(n for _, n, _ in steps) / total,
        peak_rss_mb=peak,
        onednn_linear_gflops=linear_gflops(torch, dtype, 1024),
        threads=torch.get_num_threads(), torch=torch.__version__, loss=[losses[0], losses[-1]],
    )))


def python_with_peer():
    wanted = "import torch, transformers, peft, gguf, accelerate"
    if subprocess.run([sys.executable, "-c", wanted], capture_output=True).returncode == 0:
        return sys.executable
    home = ROOT / "target/peers/peft"
    python = home / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
    if subprocess.run([python, "-c", wanted], capture_output=True).returncode != 0:
        subprocess.run([python, "-m", "pip", "install", "--quiet", "torch", "transformers", "peft", "gguf",
                        "accelerate"], check=True)
    return str(python)


def main():
    args = arguments()
    if args.worker:
        return worker(args)
    python = python_with_peer()
    shape = ["--model", str(args.model), "--rows", str(args.rows), "--row-tokens", str(args.row_tokens),
             "--target-tokens", str(args.target_tokens), "--rank", str(args.rank), "--steps", str(args.steps)]
    if args.examples:
        shape += ["--examples", str(args.examples)]
    ours = [str(ROOT / "target/release/secondnature"), "bench", "train", *shape, "--json"]
    contestants = {f"secondnature {m}": ours + ["--recompute", m] for m in args.recompute.split(",")}
    contestants |= {f"peft {d}": [python, __file__, *shape, "--worker", d] for d in args.dtypes.split(",") if d}
    runs = {name: [] for name in contestants}
    for _ in range(args.rounds):
        for name, command in contestants.items():
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                sys.exit(f"{name} failed:\n{done.stderr[-2000:]}")
            runs[name].append(json.loads(done.stdout.strip().splitlines()[-1] if "peft" in name else done.stdout))
            print(f"{name}: {runs[name][-1]['tokens_per_s']:.0f} tokens/s", file=sys.stderr)
    median = lambda name, key: statistics.median(r[key] for r in runs[name])
    figures = ["tokens_per_s", "examples_per_s", "peak_rss_mb"]
    result = {name: {f: round(median(name, f), 2) for f in figures} for name in runs}
    fast = next(iter(contestants))
    for name in runs:
        if name.startswith("peft"):
            result[name]["onednn_linear_gflops"] = round(median(name, "onednn_linear_gflops"), 1)
            result[f"{fast} / {name}"] = {
                f: round(median(fast, f) / median(name, f), 2) for f in figures}
            result[f"{fast} / {name}"]["linear_gflops over oneDNN"] = round(
                median(fast, "linear_gflops") / median(name, "onednn_linear_gflops"), 2)
        else:
            for f in ["linear_gflops", "utilisation"]:
                result[name][f] = round(median(name, f), 2)
    print(json.dumps(result, indent=1))


main()
