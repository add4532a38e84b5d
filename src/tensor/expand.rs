//! A copy of a model whose quantized matrices are stored in another type, with the same values.
//!
//! Quantized kernels are made for one token: each weight is unpacked for each row of a batch, so a
//! batch of 16 costs almost 16 times as much. Types that need little or no unpacking do not, and a
//! copy in such a type *is* the same model, up to the rounding of that type, which is far below the
//! rounding that the quantized kernels do to activations (8 bits):
//!
//! | type | error of a weight |
//! | --- | --- |
//! | F16 | 2⁻¹² of it |
//! | BF16 | 2⁻⁹ of it |
//! | Q8_0 | none from Q4_0, Q5_0 and IQ4_NL, which are a scale times whole numbers; else 1/254 of the largest of 32 |

use std::io::{self, Write};

use super::{Gguf, GgufWriter, QuantType, TensorInfo};

/// The type that the matrices are expanded to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Target {
    /// 16-bit IEEE float.
    F16,
    /// 16-bit brain float.
    Bf16,
    /// 8-bit blocks.
    Q8,
}

impl Target {
    /// All of them.
    pub const ALL: [Target; 3] = [Target::F16, Target::Bf16, Target::Q8];

    /// Its name in file names and messages.
    pub fn name(self) -> &'static str {
        match self {
            Target::F16 => "f16",
            Target::Bf16 => "bf16",
            Target::Q8 => "q8_0",
        }
    }

    /// The ggml type.
    pub fn ty(self) -> QuantType {
        match self {
            Target::F16 => QuantType::F16,
            Target::Bf16 => QuantType::BF16,
            Target::Q8 => QuantType::Q8_0,
        }
    }

    /// `llama_ftype` of a file whose matrices are mostly of it.
    fn file_type(self) -> u32 {
        match self {
            Target::F16 => 1,
            Target::Bf16 => 32,
            Target::Q8 => 7,
        }
    }
}

/// The copy of `source` in `target`, to be written; tensors are converted while that happens, a few
/// rows at a time.
///
/// Writing fails with [`io::ErrorKind::InvalidData`] where a weight is beyond the range of `target`.
pub fn expanded(source: &Gguf, target: Target) -> GgufWriter<'_> {
    let mut w = GgufWriter::new();
    for (key, entry) in source.raw_values() {
        // One file with the default alignment, whatever the source is.
        let replaced =
            key.starts_with("split.") || key == "general.alignment" || key == "general.file_type";
        if !replaced {
            w.raw_value(entry);
        }
    }
    w.u32("general.file_type", target.file_type());
    for tensor in source.tensors() {
        if is_expanded(source, tensor, target) {
            w.tensor_made(&tensor.name, &tensor.dims, target.ty(), move |out| {
                convert(source, tensor, target.ty(), out)
            });
        } else {
            w.tensor_made(&tensor.name, &tensor.dims, tensor.ty, move |out| out.write_all(source.data(tensor)));
        }
    }
    w
}

/// Whether a copy in `target` stores `tensor` in that type: the quantized matrices that llama.cpp
/// multiplies with. An embedding that only hands out rows stays as it is, and so does what nobody
/// quantized, whose values `target` might not hold.
fn is_expanded(source: &Gguf, tensor: &TensorInfo, target: Target) -> bool {
    let is_head = |name: &str| match source.tensor("output.weight") {
        Some(_) => name == "output.weight",
        None => name == "token_embd.weight",
    };
    tensor.dims.len() == 2
        && tensor.ty.block_len() > 1
        && tensor.ty.is_weight_type()
        && tensor.ty.is_readable()
        && tensor.ty != target.ty()
        && target.ty().row_bytes(tensor.dims[0]).is_some()
        && (tensor.name.starts_with("blk.") && tensor.name.ends_with(".weight") || is_head(&tensor.name))
}

fn convert(source: &Gguf, tensor: &TensorInfo, ty: QuantType, out: &mut dyn Write) -> io::Result<()> {
    let matrix = source.rows(tensor);
    let mut row = vec![0.0; matrix.cols];
    let mut stored = vec![0; ty.row_bytes(matrix.cols).expect("checked by is_expanded")];
    let exact = ty == QuantType::Q8_0 && is_scale_times_whole_numbers(tensor.ty);
    for (index, packed) in matrix.data.chunks_exact(matrix.data.len() / matrix.rows).enumerate() {
        matrix.read(index, 0, &mut row);
        if exact {
            let blocks = packed.chunks_exact(tensor.ty.block_bytes()).zip(row.chunks_exact(32));
            for ((block, weights), out) in blocks.zip(stored.chunks_exact_mut(ty.block_bytes())) {
                same_scale(block, weights, out);
            }
        } else {
            if ty == QuantType::F16 && row.iter().any(|x| x.abs() > F16_MAX) {
                let why = format!("tensor \"{}\" has weights beyond {F16_MAX}", tensor.name);
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            ty.quantize(&row, &mut stored);
        }
        out.write_all(&stored)?;
    }
    Ok(())
}

const F16_MAX: f32 = 65504.0;

/// Whether blocks of 32 weights are one F16 scale, stored in front, times whole numbers of 8 bits.
fn is_scale_times_whole_numbers(ty: QuantType) -> bool {
    [QuantType::Q4_0, QuantType::Q5_0, QuantType::IQ4_NL].contains(&ty)
}

/// The Q8_0 block with the scale of `block`, whose weights are `weights`.
fn same_scale(block: &[u8], weights: &[f32], out: &mut [u8]) {
    out[..2].copy_from_slice(&block[..2]);
    let scale = half::f16::from_le_bytes([block[0], block[1]]).to_f32();
    for (out, weight) in out[2..].iter_mut().zip(weights) {
        *out = if scale == 0.0 { 0 } else { (weight / scale).round() as i8 as u8 };
    }
}
