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
//! | Q8_0 | none from Q4_0 and Q5_0; from Q4_1, Q5_1, Q4_K and Q5_K see [`keep_steps`]; else 1/254 of the largest of 32 |

use std::io::{self, Write};

use rayon::prelude::*;

use super::{Gguf, GgufWriter, QuantType, Rows, TensorInfo};

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

/// The copy of `source` in `target`, to be written; tensors are converted while that happens, some
/// rows at a time.
///
/// Writing fails with [`io::ErrorKind::InvalidData`] where a weight is beyond the range of `target`.
pub fn expanded(source: &Gguf, target: Target) -> GgufWriter<'_> {
    first_layers(source, Some(target), usize::MAX)
}

/// Whether [`expanded`] would change anything.
pub fn expands(source: &Gguf, target: Target) -> bool {
    source.tensors().any(|tensor| is_expanded(source, tensor, target.ty()))
}

/// [`expanded`], or the weights as they are without `target`, of a model that ends after `layers`
/// layers: for measuring, as its output means nothing.
pub fn first_layers(source: &Gguf, target: Option<Target>, layers: usize) -> GgufWriter<'_> {
    let block_count = format!("{}.block_count", source.str("general.architecture").unwrap_or_default());
    let cut = source.int(&block_count).filter(|all| *all > layers as i128);
    let mut w = GgufWriter::new();
    for (key, entry) in source.raw_values() {
        // One file with the default alignment, whatever the source is.
        let replaced = key.starts_with("split.")
            || key == "general.alignment"
            || key == "general.file_type" && target.is_some()
            || key == block_count && cut.is_some();
        if !replaced {
            w.raw_value(entry);
        }
    }
    if cut.is_some() {
        w.u32(&block_count, layers as u32);
    }
    if let Some(target) = target {
        w.u32("general.file_type", target.file_type());
    }
    for tensor in source.tensors().filter(|tensor| layer_of(tensor).is_none_or(|layer| layer < layers)) {
        let matrix = source.rows(tensor);
        match target.map(Target::ty).filter(|ty| is_expanded(source, tensor, *ty)) {
            Some(ty) => w.tensor_made(&tensor.name, &tensor.dims, ty, move |out| {
                convert(matrix, ty, out)
                    .map_err(|why| io::Error::new(why.kind(), format!("{}: {why}", tensor.name)))
            }),
            None => {
                w.tensor_made(&tensor.name, &tensor.dims, tensor.ty, move |out| out.write_all(matrix.data))
            }
        }
    }
    w
}

/// 3 of `blk.3.attn_q.weight`.
fn layer_of(tensor: &TensorInfo) -> Option<usize> {
    tensor.name.strip_prefix("blk.")?.split('.').next()?.parse().ok()
}

/// Whether a copy in `ty` stores `tensor` in that type: the quantized matrices that llama.cpp
/// multiplies with. An embedding that only hands out rows stays as it is, and so does what nobody
/// quantized, whose values `ty` might not hold.
fn is_expanded(source: &Gguf, tensor: &TensorInfo, ty: QuantType) -> bool {
    let is_head = |name: &str| match source.tensor("output.weight") {
        Some(_) => name == "output.weight",
        None => name == "token_embd.weight",
    };
    tensor.dims.len() == 2
        && tensor.ty.block_len() > 1
        && tensor.ty.is_weight_type()
        && tensor.ty.is_readable()
        && tensor.ty != ty
        && ty.row_bytes(tensor.dims[0]).is_some()
        && (tensor.name.starts_with("blk.") && tensor.name.ends_with(".weight") || is_head(&tensor.name))
}

/// Rows converted at once, on all cores.
const ROWS: usize = 256;

fn convert(matrix: Rows<'_>, ty: QuantType, out: &mut dyn Write) -> io::Result<()> {
    let row_bytes = ty.row_bytes(matrix.cols).expect("checked by is_expanded");
    let mut stored = vec![0; row_bytes * ROWS.min(matrix.rows)];
    for first in (0..matrix.rows).step_by(ROWS) {
        let stored = &mut stored[..row_bytes * ROWS.min(matrix.rows - first)];
        stored.par_chunks_exact_mut(row_bytes).enumerate().try_for_each_init(
            || vec![0.0; matrix.cols],
            |row, (index, stored)| {
                matrix.read(first + index, 0, row);
                convert_row(row, ty, stored)
            },
        )?;
        out.write_all(stored)?;
    }
    Ok(())
}

fn convert_row(row: &[f32], ty: QuantType, stored: &mut [u8]) -> io::Result<()> {
    if ty == QuantType::F16 && row.iter().any(|x| x.abs() > F16_MAX) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("holds weights beyond {F16_MAX}")));
    }
    ty.quantize(row, stored);
    if ty == QuantType::Q8_0 {
        let blocks = row.chunks_exact(32).zip(stored.chunks_exact_mut(ty.block_bytes()));
        blocks.for_each(|(weights, block)| keep_steps(weights, block));
    }
    Ok(())
}

const F16_MAX: f32 = 65504.0;

/// Stores in a Q8_0 `block` weights that lie on even steps, as those of Q4_0, Q4_1, Q5_0, Q5_1, Q4_K
/// and Q5_K do: weight = low + step·k. Leaves the block, rounded as usual, where they do not.
///
/// With scale = step/n for a whole n every difference of weights is exact, and only `low` is rounded
/// to a multiple of the scale. Of the n that leave room in 8 bits the one that rounds it least is
/// taken; where `low` is itself a number of steps, as in the types without an offset, that is none.
fn keep_steps(weights: &[f32], block: &mut [u8]) {
    let mut sorted: [f32; 32] = weights.try_into().expect("blocks of 32");
    sorted.sort_by(f32::total_cmp);
    let (low, high) = (sorted[0], sorted[31]);
    let same = (high - low).abs().max(high.abs()) * 1e-4;
    let step = sorted.windows(2).map(|w| w[1] - w[0]).filter(|gap| *gap > same).fold(f32::INFINITY, f32::min);
    let steps = |weight: f32| (weight - low) / step;
    let uneven = |weight: &f32| (steps(*weight) - steps(*weight).round()).abs() > 0.01;
    if !step.is_finite() || steps(high) > 127.0 || sorted.iter().any(uneven) {
        return;
    }
    let span = steps(high).round();
    let best = (1..=(254.0 / span) as i32)
        .filter_map(|n| {
            let scale = half::f16::from_f32(step / n as f32);
            let lowest = (low / scale.to_f32()).round();
            let fits = scale.is_normal() && lowest >= -127.0 && lowest + span * n as f32 <= 127.0;
            fits.then(|| ((low - lowest * scale.to_f32()).abs(), scale, lowest, n as f32))
        })
        .min_by(|a, b| a.0.total_cmp(&b.0));
    let Some((_, scale, lowest, n)) = best else { return };
    block[..2].copy_from_slice(&scale.to_le_bytes());
    for (out, weight) in block[2..].iter_mut().zip(weights) {
        *out = (lowest + steps(*weight).round() * n) as i8 as u8;
    }
}
