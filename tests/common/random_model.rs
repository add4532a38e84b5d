//! Tiny random models as GGUF files, for comparing forward passes and gradients.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// `(values, row length) -> (type, bytes)`
pub type Encode<'a> = dyn Fn(&[f32], usize) -> (super::gguf::QuantType, Vec<u8>) + 'a;

/// What to vary. Widths are multiples of 32, so that every 32-block type fits.
#[derive(Clone, Debug)]
pub struct RandomModel {
    pub arch: &'static str,
    pub n_layer: usize,
    pub n_embd: usize,
    pub n_head: usize,
    pub n_head_kv: usize,
    pub n_ff: usize,
    pub n_vocab: usize,
    pub tied: bool,
    pub bias: bool,
    pub seed: u64,
}

impl RandomModel {
    pub fn new(arch: &'static str) -> Self {
        RandomModel {
            arch,
            n_layer: 3,
            n_embd: 64,
            n_head: 4,
            n_head_kv: 2,
            n_ff: 96,
            n_vocab: 96,
            tied: false,
            bias: arch == "qwen2",
            seed: 1,
        }
    }

    /// The model, its matrices stored as `encode` gives.
    pub fn write(&self, w: &mut super::gguf::GgufWriter, encode: &Encode<'_>) {
        let a = self.arch;
        let head = self.n_embd / self.n_head;
        w.str("general.architecture", a);
        w.str("general.name", "random");
        for (key, value) in [
            ("block_count", self.n_layer),
            ("context_length", 256),
            ("embedding_length", self.n_embd),
            ("feed_forward_length", self.n_ff),
            ("attention.head_count", self.n_head),
            ("attention.head_count_kv", self.n_head_kv),
            ("rope.dimension_count", head),
            ("vocab_size", self.n_vocab),
        ] {
            w.u32(&format!("{a}.{key}"), value as u32);
        }
        w.f32(&format!("{a}.attention.layer_norm_rms_epsilon"), 1e-5);
        w.f32(&format!("{a}.rope.freq_base"), 10_000.0);
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

        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let mut random = |n: usize, scale: f32, around: f32| -> Vec<f32> {
            (0..n).map(|_| around + scale * (rng.random::<f32>() * 2.0 - 1.0)).collect()
        };
        let mut matrix =
            |w: &mut super::gguf::GgufWriter, name: String, n_in: usize, n_out: usize, scale: f32| {
                let (ty, bytes) = encode(&random(n_in * n_out, scale, 0.0), n_in);
                w.tensor(&name, &[n_in, n_out], ty, bytes);
            };
        let (d, kv, f) = (self.n_embd, self.n_head_kv * head, self.n_ff);
        matrix(w, "token_embd.weight".into(), d, self.n_vocab, 1.0);
        if !self.tied {
            matrix(w, "output.weight".into(), d, self.n_vocab, 0.3);
        }
        for l in 0..self.n_layer {
            for (name, n_in, n_out) in [
                ("attn_q", d, d),
                ("attn_k", d, kv),
                ("attn_v", d, kv),
                ("attn_output", d, d),
                ("ffn_gate", d, f),
                ("ffn_up", d, f),
                ("ffn_down", f, d),
            ] {
                matrix(w, format!("blk.{l}.{name}.weight"), n_in, n_out, 2.0 / (n_in as f32).sqrt());
            }
        }
        for l in 0..self.n_layer {
            for norm in ["attn_norm", "ffn_norm"] {
                w.tensor_f32(&format!("blk.{l}.{norm}.weight"), &[d], &random(d, 0.2, 1.0));
            }
            if self.bias {
                for (name, n) in [("attn_q", d), ("attn_k", kv), ("attn_v", kv)] {
                    w.tensor_f32(&format!("blk.{l}.{name}.bias"), &[n], &random(n, 0.3, 0.0));
                }
            }
        }
        w.tensor_f32("output_norm.weight", &[d], &random(d, 0.2, 1.0));
    }
}
