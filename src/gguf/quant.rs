//! ggml's tensor types: sizes, names, and rows of weights as `f32`.

use llama_cpp_sys_2 as sys;

/// A ggml tensor type that this build of ggml can store and dequantize.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct QuantType(u32);

impl QuantType {
    /// 32-bit float.
    pub const F32: QuantType = QuantType(sys::GGML_TYPE_F32);
    /// 16-bit IEEE float.
    pub const F16: QuantType = QuantType(sys::GGML_TYPE_F16);
    /// 16-bit brain float.
    pub const BF16: QuantType = QuantType(sys::GGML_TYPE_BF16);
    /// 8-bit blocks of 32.
    pub const Q8_0: QuantType = QuantType(sys::GGML_TYPE_Q8_0);

    /// The type with this number in a GGUF file, if this ggml knows it.
    pub fn from_id(id: u32) -> Option<Self> {
        if id >= sys::GGML_TYPE_COUNT {
            return None;
        }
        // SAFETY: `id` is below GGML_TYPE_COUNT, the only precondition of the type tables.
        let block = unsafe { sys::ggml_blck_size(id as sys::ggml_type) };
        // Numbers of types that ggml has removed keep a slot with block size 0.
        (block > 0).then_some(QuantType(id))
    }

    /// Its number in a GGUF file.
    pub fn id(self) -> u32 {
        self.0
    }

    /// ggml's name for it, such as `q4_K`.
    pub fn name(self) -> String {
        // SAFETY: the id was checked on construction; ggml returns a static NUL-terminated string.
        unsafe { std::ffi::CStr::from_ptr(sys::ggml_type_name(self.0 as sys::ggml_type)) }
            .to_string_lossy()
            .into_owned()
    }

    /// Weights per block; rows are whole blocks.
    pub fn block_len(self) -> usize {
        // SAFETY: the id was checked on construction.
        unsafe { sys::ggml_blck_size(self.0 as sys::ggml_type) as usize }
    }

    /// Bytes per block.
    pub fn block_bytes(self) -> usize {
        // SAFETY: the id was checked on construction.
        unsafe { sys::ggml_type_size(self.0 as sys::ggml_type) }
    }

    /// Bytes of a row of `n` weights; `None` where `n` is not whole blocks or the size overflows.
    pub fn row_bytes(self, n: usize) -> Option<usize> {
        let block = self.block_len();
        if n.is_multiple_of(block) { (n / block).checked_mul(self.block_bytes()) } else { None }
    }

    /// Whether rows of this type can be read as `f32`.
    pub fn is_readable(self) -> bool {
        self == Self::F32 || self.to_float().is_some()
    }

    /// Whether llama.cpp stores model weights in this type: not integers, and not the types that
    /// only hold activations.
    pub fn is_weight_type(self) -> bool {
        let activations = [sys::GGML_TYPE_Q8_1, sys::GGML_TYPE_Q8_K];
        let integers = [
            sys::GGML_TYPE_I8,
            sys::GGML_TYPE_I16,
            sys::GGML_TYPE_I32,
            sys::GGML_TYPE_I64,
            sys::GGML_TYPE_F64,
        ];
        !activations.contains(&self.0) && !integers.contains(&self.0)
    }

    /// Whether weights of this type are floating-point numbers, none of which share a scale.
    pub fn is_float(self) -> bool {
        [Self::F32, Self::F16, Self::BF16].contains(&self)
    }

    /// The largest integer `u` of a type that stores 32 weights in a row as `step · u + min`, with a step and a
    /// minimum for each 32; `None` for other types.
    pub fn largest_of_32(self) -> Option<u32> {
        match self.0 {
            sys::GGML_TYPE_Q4_0 | sys::GGML_TYPE_Q4_1 | sys::GGML_TYPE_Q4_K => Some(15),
            sys::GGML_TYPE_Q5_0 | sys::GGML_TYPE_Q5_1 | sys::GGML_TYPE_Q5_K => Some(31),
            // Tables of integers: twice 0 to 6 with a sign, -127 to 113.
            sys::GGML_TYPE_MXFP4 => Some(24),
            sys::GGML_TYPE_IQ4_NL | sys::GGML_TYPE_IQ4_XS => Some(240),
            sys::GGML_TYPE_Q8_0 => Some(255),
            _ => None,
        }
    }

    fn to_float(self) -> sys::ggml_to_float_t {
        // SAFETY: the id was checked on construction; the traits table is static.
        unsafe { (*sys::ggml_get_type_traits(self.0 as sys::ggml_type)).to_float }
    }

    /// Dequantizes whole blocks. `src` may have any alignment.
    ///
    /// # Panics
    /// If `src` is not exactly `dst.len()` weights, or the type is not readable.
    pub fn dequantize(self, src: &[u8], dst: &mut [f32]) {
        assert_eq!(self.row_bytes(dst.len()), Some(src.len()), "dequantize: sizes disagree");
        if self == Self::F32 {
            for (d, s) in dst.iter_mut().zip(src.chunks_exact(4)) {
                *d = f32::from_le_bytes([s[0], s[1], s[2], s[3]]);
            }
            return;
        }
        let to_float = self.to_float().expect("checked by is_readable when the model was opened");
        if src.as_ptr().addr().is_multiple_of(self.block_align()) {
            // SAFETY: the assert above makes `src` exactly the blocks of `dst.len()` weights, and it is
            // aligned for them.
            return unsafe { to_float(src.as_ptr().cast(), dst.as_mut_ptr(), dst.len() as i64) };
        }
        // A file may place its tensors at any byte (`general.alignment` = 1).
        let mut aligned = [0u32; 128];
        let blocks = (size_of_val(&aligned) / self.block_bytes()).max(1);
        assert!(self.block_bytes() <= size_of_val(&aligned), "a block of {}", self.name());
        for (src, dst) in
            src.chunks(blocks * self.block_bytes()).zip(dst.chunks_mut(blocks * self.block_len()))
        {
            // SAFETY: `aligned` has room for these bytes (asserted), which do not overlap it; ggml
            // then reads whole blocks from it, at an address that suits every type.
            unsafe {
                std::ptr::copy_nonoverlapping(src.as_ptr(), aligned.as_mut_ptr().cast(), src.len());
                to_float(aligned.as_ptr().cast(), dst.as_mut_ptr(), dst.len() as i64);
            }
        }
    }

    /// The alignment that ggml's struct of a block needs: the largest power of two that divides its
    /// size, since a type's size is a multiple of its alignment, and at most the 4 of its widest field.
    fn block_align(self) -> usize {
        1 << self.block_bytes().trailing_zeros().min(2)
    }
}

/// A matrix of weights as it lies in a file: `rows` rows of `cols` weights, each row whole blocks.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// How the weights are stored.
    pub ty: QuantType,
    /// The bytes, row after row.
    pub data: &'a [u8],
    /// Number of rows (`ne[1]`).
    pub rows: usize,
    /// Weights per row (`ne[0]`).
    pub cols: usize,
}

impl Rows<'_> {
    /// Writes weights `from..from + dst.len()` of `row` to `dst`.
    ///
    /// `from` and `dst.len()` must be whole blocks ([`QuantType::block_len`]).
    pub fn read(&self, row: usize, from: usize, dst: &mut [f32]) {
        let row_bytes = self.ty.row_bytes(self.cols).expect("rows are whole blocks");
        let skip = self.ty.row_bytes(from).expect("reads start at a block");
        let len = self.ty.row_bytes(dst.len()).expect("reads are whole blocks");
        let start = row * row_bytes + skip;
        self.ty.dequantize(&self.data[start..start + len], dst);
    }
}

/// `values` as rows of `cols` weights in type `ty`, quantized by ggml with equal importance.
#[cfg(test)]
pub fn quantize_for_tests(ty: QuantType, values: &[f32], cols: usize) -> Vec<u8> {
    let rows = values.len() / cols;
    let mut out = vec![0u8; ty.row_bytes(cols).unwrap() * rows];
    let importance = vec![1.0f32; cols];
    // SAFETY: `out` has room for `rows` rows of `cols` weights, `importance` for one row.
    unsafe {
        sys::ggml_quantize_chunk(
            ty.id() as sys::ggml_type,
            values.as_ptr(),
            out.as_mut_ptr().cast(),
            0,
            rows as i64,
            cols as i64,
            importance.as_ptr(),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_at_odd_addresses_are_dequantized_as_those_at_even_ones() {
        use rand::{RngCore, SeedableRng};
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        let types = (0..64).filter_map(QuantType::from_id);
        for ty in types.filter(|ty| ty.is_readable() && ty.is_weight_type()) {
            // Any bytes are blocks of weights.
            let mut bytes = vec![0; ty.row_bytes(4096).unwrap()];
            rng.fill_bytes(&mut bytes);
            let mut expected = vec![0.0; 4096];
            ty.dequantize(&bytes, &mut expected);
            let mut shifted = vec![0u32; bytes.len() / 4 + 2];
            for offset in 0..4 {
                // SAFETY: a u32 may have any bits, and `shifted` has more bytes than `bytes`.
                let room = unsafe {
                    let start = shifted.as_mut_ptr().cast::<u8>();
                    std::slice::from_raw_parts_mut(start.add(offset), bytes.len())
                };
                room.copy_from_slice(&bytes);
                let mut found = vec![0.0; 4096];
                ty.dequantize(room, &mut found);
                let same = found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{} at offset {offset}", ty.name());
            }
        }
    }
}
