//! Small random models as GGUF files, to compare forward passes and gradients.
//!
//! The tensors and keys of each architecture are listed here again, from llama.cpp's `src/models/*.cpp`,
//! and not taken from the library's table.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `(values, row length) -> (type, bytes)`
pub type Encode<'a> = dyn Fn(&[f32], usize) -> (crate::gguf::QuantType, Vec<u8>) + 'a;

/// The properties of a model. Widths are multiples of 32, the block size of most types.
#[derive(Clone, Debug)]
pub struct RandomModel {
    pub arch: &'static str,
    pub n_layer: usize,
    pub n_embd: usize,
    pub n_head: usize,
    pub n_head_kv: usize,
    /// Width of a head.
    pub head: usize,
    /// Number of dimensions of a head that RoPE rotates.
    pub rotated: usize,
    pub n_ff: usize,
    pub n_vocab: usize,
    pub tied: bool,
    pub bias: bool,
    /// Per-frequency RoPE factors, as Llama 3 has them.
    pub rope_factors: bool,
    pub seed: u64,
}

impl RandomModel {
    pub fn new(arch: &'static str) -> Self {
        // These can have heads of any width.
        let head = if matches!(arch, "qwen3" | "gemma2" | "gemma3") { 32 } else { 16 };
        RandomModel {
            arch,
            // In Gemma 3, every sixth layer has full attention.
            n_layer: if arch == "gemma3" { 7 } else { 3 },
            n_embd: 64,
            n_head: 4,
            n_head_kv: 2,
            head,
            rotated: head,
            n_ff: 96,
            n_vocab: 96,
            tied: matches!(arch, "gemma2" | "gemma3"),
            bias: arch == "qwen2",
            rope_factors: false,
            seed: 1,
        }
    }

    /// The model file, with matrices in the encoding of `encode`.
    pub fn write(&self, w: &mut crate::gguf::GgufWriter, encode: &Encode<'_>) {
        self.write_metadata(w);
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut random = |n: usize, scale: f32, around: f32| -> Vec<f32> {
            (0..n).map(|_| around + scale * (rng.random::<f32>() * 2.0 - 1.0)).collect()
        };
        let mut matrix =
            |w: &mut crate::gguf::GgufWriter, name: String, n_in: usize, n_out: usize, scale: f32| {
                let (ty, bytes) = encode(&random(n_in * n_out, scale, 0.0), n_in);
                w.tensor(&name, &[n_in, n_out], ty, bytes);
            };
        let (d, q, kv, f) = (self.n_embd, self.n_head * self.head, self.n_head_kv * self.head, self.n_ff);
        matrix(w, "token_embd.weight".into(), d, self.n_vocab, 1.0);
        if !self.tied {
            matrix(w, "output.weight".into(), d, self.n_vocab, 0.3);
        }
        let linear: &[(&str, usize, usize)] = match self.arch {
            "phi3" => &[
                ("attn_qkv", d, q + 2 * kv),
                ("attn_output", q, d),
                ("ffn_up", d, 2 * f),
                ("ffn_down", f, d),
            ],
            _ => &[
                ("attn_q", d, q),
                ("attn_k", d, kv),
                ("attn_v", d, kv),
                ("attn_output", q, d),
                ("ffn_gate", d, f),
                ("ffn_up", d, f),
                ("ffn_down", f, d),
            ],
        };
        for l in 0..self.n_layer {
            for (name, n_in, n_out) in linear {
                let scale = 2.0 / (*n_in as f32).sqrt();
                matrix(w, format!("blk.{l}.{name}.weight"), *n_in, *n_out, scale);
            }
        }
        let norms: &[(&str, usize)] = match self.arch {
            "qwen3" => &[("attn_norm", d), ("ffn_norm", d), ("attn_q_norm", 0), ("attn_k_norm", 0)],
            "gemma2" => {
                &[("attn_norm", d), ("ffn_norm", d), ("post_attention_norm", d), ("post_ffw_norm", d)]
            }
            "gemma3" => &[
                ("attn_norm", d),
                ("ffn_norm", d),
                ("post_attention_norm", d),
                ("post_ffw_norm", d),
                ("attn_q_norm", 0),
                ("attn_k_norm", 0),
            ],
            "olmo2" => {
                &[("post_attention_norm", d), ("post_ffw_norm", d), ("attn_q_norm", q), ("attn_k_norm", kv)]
            }
            _ => &[("attn_norm", d), ("ffn_norm", d)],
        };
        for l in 0..self.n_layer {
            for (norm, width) in norms {
                let width = if *width == 0 { self.head } else { *width };
                w.tensor_f32(&format!("blk.{l}.{norm}.weight"), &[width], &random(width, 0.2, 1.0));
            }
            if self.bias {
                for (name, n) in [("attn_q", q), ("attn_k", kv), ("attn_v", kv)] {
                    w.tensor_f32(&format!("blk.{l}.{name}.bias"), &[n], &random(n, 0.3, 0.0));
                }
            }
        }
        if self.rope_factors {
            let n = self.rotated / 2;
            w.tensor_f32("rope_freqs.weight", &[n], &random(n, 3.0, 5.0));
        }
        if self.arch == "phi3" {
            for name in ["rope_factors_short", "rope_factors_long"] {
                let n = self.rotated / 2;
                w.tensor_f32(&format!("{name}.weight"), &[n], &random(n, 0.5, 1.5));
            }
        }
        w.tensor_f32("output_norm.weight", &[d], &random(d, 0.2, 1.0));
    }

    fn write_metadata(&self, w: &mut crate::gguf::GgufWriter) {
        let a = self.arch;
        w.str("general.architecture", a);
        w.str("general.name", "random");
        for (key, value) in [
            ("block_count", self.n_layer),
            ("context_length", 256),
            ("embedding_length", self.n_embd),
            ("feed_forward_length", self.n_ff),
            ("attention.head_count", self.n_head),
            ("attention.head_count_kv", self.n_head_kv),
            ("attention.key_length", self.head),
            ("attention.value_length", self.head),
            ("rope.dimension_count", self.rotated),
            ("vocab_size", self.n_vocab),
        ] {
            w.u32(&format!("{a}.{key}"), value as u32);
        }
        w.f32(&format!("{a}.attention.layer_norm_rms_epsilon"), 1e-5);
        w.f32(&format!("{a}.rope.freq_base"), if a == "gemma3" { 300.0 } else { 10_000.0 });
        // Values that differ from all defaults.
        let floats: &[(&str, f32)] = match a {
            "gemma2" => &[("attn_logit_softcapping", 2.0), ("final_logit_softcapping", 3.0)],
            "gemma3" => &[("rope.scaling.factor", 8.0)],
            "granite" => &[
                ("logit_scale", 2.0),
                ("residual_scale", 0.4),
                ("embedding_scale", 3.0),
                ("attention.scale", 0.15),
            ],
            "phi3" => &[("rope.scaling.attn_factor", 1.2)],
            _ => &[],
        };
        for (key, value) in floats {
            w.f32(&format!("{a}.{key}"), *value);
        }
        // Fewer tokens than the longest example of the tests.
        if matches!(a, "gemma2" | "gemma3") {
            w.u32(&format!("{a}.attention.sliding_window"), 4);
        }
        let tokens: Vec<String> =
            (0..self.n_vocab).map(|i| if i == 0 { "<end>".into() } else { format!("t{i}") }).collect();
        let types: Vec<i32> = (0..self.n_vocab).map(|i| if i == 0 { 3 } else { 1 }).collect();
        w.str("tokenizer.ggml.model", "gpt2");
        w.str("tokenizer.ggml.pre", "gpt-2");
        w.strings("tokenizer.ggml.tokens", &tokens);
        w.i32s("tokenizer.ggml.token_type", &types);
        w.strings("tokenizer.ggml.merges", &["t 1".to_string()]);
        w.u32("tokenizer.ggml.eos_token_id", 0);
        w.u32("tokenizer.ggml.bos_token_id", 0);
        w.bool("tokenizer.ggml.add_bos_token", false);
    }
}
