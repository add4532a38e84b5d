#!/usr/bin/env python3
"""Makes the golden values in this folder: PyTorch + PEFT on tiny random models.

For each of llama, qwen2 and gemma3 it writes
  NAME.gguf             the model, F32, as llama.cpp names and orders its weights
  NAME/start/           the adapter training starts from, as PEFT saves it
  NAME/gradient/        the gradient of the loss at that adapter, in the same format
  NAME.json             examples, losses, and the losses of ten AdamW steps

The trainer never sees this script; it reads the files. Run it again only to change them:
  pip install torch transformers peft gguf safetensors
  python tests/goldens/make_goldens.py
"""
import json
import pathlib

import gguf
import numpy as np
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

HERE = pathlib.Path(__file__).parent
VOCAB, RANK, ALPHA, LR, STEPS = 48, 4, 8.0, 5e-3, 10
COMMON = dict(
    vocab_size=VOCAB, hidden_size=32, intermediate_size=64, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=128, rms_norm_eps=1e-5,
    attn_implementation="eager", bos_token_id=0, eos_token_id=0, pad_token_id=0,
)
# Prompt, target; unequal lengths, shared prefixes, one example twice.
EXAMPLES = [
    ([5, 6, 7, 8, 9, 33, 21, 40, 4, 4, 31], [20, 3, 0]),
    ([5, 6, 7], [21, 22, 0]),
    ([5, 6, 7, 8, 1], [23]),
    ([40], [43, 0]),
    ([5, 6, 7], [21, 22, 0]),
]
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm", "self_attn.q_norm": "attn_q_norm",
    "self_attn.k_norm": "attn_k_norm",
}


def models():
    yield "llama", transformers.LlamaForCausalLM(transformers.LlamaConfig(
        num_hidden_layers=2, tie_word_embeddings=False, **COMMON))
    yield "qwen2", transformers.Qwen2ForCausalLM(transformers.Qwen2Config(
        num_hidden_layers=2, tie_word_embeddings=True, **COMMON))
    # Layer 5 sees everything; the window is shorter than the longest example.
    yield "gemma3", transformers.Gemma3ForCausalLM(transformers.Gemma3TextConfig(
        num_hidden_layers=6, head_dim=16, sliding_window=4, query_pre_attn_scalar=16,
        hidden_activation="gelu_pytorch_tanh", tie_word_embeddings=True, **COMMON))


def permuted(weight, heads):
    """Rows of Q or K in the order of llama.cpp's llama models."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write_gguf(arch, model, path):
    c = model.config
    head = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    w = gguf.GGUFWriter(path, arch)
    w.add_name("golden")
    w.add_block_count(c.num_hidden_layers)
    w.add_context_length(c.max_position_embeddings)
    w.add_embedding_length(c.hidden_size)
    w.add_feed_forward_length(c.intermediate_size)
    w.add_head_count(c.num_attention_heads)
    w.add_head_count_kv(c.num_key_value_heads)
    w.add_key_length(head)
    w.add_value_length(head)
    w.add_layer_norm_rms_eps(c.rms_norm_eps)
    ropes = c.rope_parameters
    full = ropes.get("full_attention", ropes)
    w.add_rope_freq_base(full["rope_theta"])
    w.add_rope_dimension_count(head)
    if arch == "gemma3":
        w.add_sliding_window(c.sliding_window)
    for name, tensor in model.state_dict().items():
        data = tensor.float().numpy()
        if name == "lm_head.weight" and c.tie_word_embeddings:
            continue
        if name.startswith("model.layers."):
            _, _, layer, rest = name.split(".", 3)
            module, kind = rest.rsplit(".", 1)
            known = dict(NAMES)
            if arch == "gemma3":
                known |= {"post_attention_layernorm": "post_attention_norm",
                          "pre_feedforward_layernorm": "ffn_norm",
                          "post_feedforward_layernorm": "post_ffw_norm"}
            else:
                known |= {"post_attention_layernorm": "ffn_norm"}
            to = f"blk.{layer}.{known[module]}.{kind}"
            if arch == "llama" and module in ("self_attn.q_proj", "self_attn.k_proj"):
                data = permuted(data, c.num_attention_heads if "q_proj" in module else c.num_key_value_heads)
        else:
            to = {"model.embed_tokens.weight": "token_embd.weight", "lm_head.weight": "output.weight",
                  "model.norm.weight": "output_norm.weight"}[name]
        if arch == "gemma3" and "norm" in to:
            data = data + 1.0  # Gemma's norms are stored as their difference from one.
        w.add_tensor(to, np.ascontiguousarray(data, dtype=np.float32))
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def batch():
    """Rows padded on the right; the loss is on the targets alone."""
    rows = [(p + t, [-100] * len(p) + t) for p, t in EXAMPLES]
    width = max(len(ids) for ids, _ in rows)
    pad = lambda row, value: row + [value] * (width - len(row))
    return dict(
        input_ids=torch.tensor([pad(ids, 0) for ids, _ in rows]),
        labels=torch.tensor([pad(labels, -100) for _, labels in rows]),
        attention_mask=torch.tensor([pad([1] * len(ids), 0) for ids, _ in rows]),
    )


def save_as_adapter(model, tensors, folder):
    """PEFT's own directory, its weights replaced by `tensors` of the same names."""
    model.save_pretrained(folder)
    file = folder / "adapter_model.safetensors"
    names = load_file(file).keys()
    save_file({n: tensors[n.replace(".weight", ".default.weight")].detach().contiguous() for n in names},
              file, metadata={"format": "pt"})
    for other in folder.iterdir():
        if not other.name.startswith("adapter_"):
            other.unlink()


for arch, model in models():
    torch.manual_seed(7)
    model = model.float()
    with torch.no_grad():
        for name, p in model.named_parameters():
            around = 0.0 if arch == "gemma3" or "norm" not in name else 1.0
            if "norm" in name:
                p.copy_(around + 0.2 * (2 * torch.rand_like(p) - 1))
            elif "embed" in name:
                p.copy_(torch.randn_like(p) * (0.2 if arch == "gemma3" else 1.0))
            else:
                p.copy_(torch.randn_like(p) * 0.25)
    write_gguf(arch, model, HERE / f"{arch}.gguf")
    peft = get_peft_model(model, LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules=TARGETS, lora_dropout=0.0, task_type="CAUSAL_LM"))
    lora = {n: p for n, p in peft.named_parameters() if "lora_" in n}
    with torch.no_grad():
        for p in lora.values():  # B, too: at zero the gradient of A would be zero.
            p.copy_(0.2 * torch.randn_like(p))
    out = HERE / arch
    save_as_adapter(peft, lora, out / "start")
    data = batch()
    loss = peft(**data).loss
    loss.backward()
    save_as_adapter(peft, {n: p.grad for n, p in lora.items()}, out / "gradient")
    optimiser = torch.optim.AdamW(lora.values(), lr=LR, weight_decay=0.0)
    losses = []
    for _ in range(STEPS):
        optimiser.zero_grad()
        step = peft(**data).loss
        step.backward()
        optimiser.step()
        losses.append(step.item())
    json.dump(dict(
        made_with=dict(torch=torch.__version__, transformers=transformers.__version__),
        examples=[dict(prompt=p, target=t) for p, t in EXAMPLES],
        loss=loss.item(), lr=LR, steps=STEPS, curve=losses,
    ), open(HERE / f"{arch}.json", "w"), indent=1)
    print(arch, loss.item(), losses[-1])
