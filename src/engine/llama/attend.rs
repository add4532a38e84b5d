//! Attention of a batch of sequences over one shared KV cache.
//!
//! Every row of a batch looks at the cells of its own sequence, a small part of the cache that all
//! share. ggml's kernel visits every cell for every row and head and asks the mask; this one reads
//! the mask once a decode call, and then visits for each row the cells it sees, once for all query
//! heads that share a key head ([`decode_attention`]).

use std::cell::RefCell;

use half::f16;
use llama_cpp_sys_2 as sys;

use crate::kernels::decode_attention::{self, CellRows, HeadGroup};
use crate::threads::for_each_index;

/// Widest head.
const MAX_HEAD_WIDTH: usize = 256;

/// Most query heads that share a key head.
const MAX_SHARED_HEADS: i64 = 64;

/// The cells that each row sees, and what the mask adds to their scores.
#[derive(Debug, Default)]
pub struct VisibleCells {
    /// The mask it was read from; 0 for none.
    of: usize,
    rows: Vec<Vec<(u32, f32)>>,
}

impl VisibleCells {
    /// Forgets the mask: its contents change with every decode call.
    pub fn clear(&mut self) {
        self.of = 0;
    }

    /// Reads `mask` for `n` rows, unless it is the one that was read last.
    ///
    /// # Safety
    /// `mask` must be a live matrix of `f16` in host memory, of at least `n` rows.
    unsafe fn read(&mut self, mask: &sys::ggml_tensor, n: usize) {
        if self.of == mask.data as usize && self.rows.len() == n {
            return;
        }
        self.rows.resize_with(n, Vec::new);
        for (i, row) in self.rows.iter_mut().enumerate() {
            // SAFETY: row i of the mask, as the caller vouches for.
            let mask = unsafe {
                let data = mask.data.cast::<u8>().add(i * mask.nb[1]).cast::<f16>();
                std::slice::from_raw_parts(data, mask.ne[0] as usize)
            };
            let seen =
                |(cell, x): (usize, &f16)| (*x != f16::NEG_INFINITY).then(|| (cell as u32, x.to_f32()));
            row.clear();
            row.extend(mask.iter().enumerate().filter_map(seen));
        }
        self.of = mask.data as usize;
    }
}

thread_local! {
    /// The scores of one row's query heads, reused.
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

/// Whether `node`, a `FLASH_ATTN_EXT`, is of the kind that [`attend`] computes.
///
/// # Safety
/// `node` and its sources are live tensors.
pub unsafe fn can_attend(node: &sys::ggml_tensor) -> bool {
    // SAFETY: the operation has query, key and value; mask and sinks may be NULL.
    let (q, k, v, mask, sinks) =
        unsafe { (&*node.src[0], &*node.src[1], &*node.src[2], node.src[3].as_ref(), node.src[4].as_ref()) };
    let parameter = |i: usize| f32::from_bits(node.op_params[i] as u32);
    let plain = parameter(1) == 0.0 && parameter(2) == 0.0 && sinks.is_none();
    let half = |t: &sys::ggml_tensor| t.type_ == sys::GGML_TYPE_F16 && t.nb[0] == 2 && t.ne[3] == 1;
    let width = q.ne[0] == k.ne[0] && q.ne[0] == v.ne[0] && (1..=MAX_HEAD_WIDTH as i64).contains(&q.ne[0]);
    let heads =
        k.ne[2] == v.ne[2] && k.ne[2] > 0 && q.ne[2] % k.ne[2] == 0 && q.ne[2] / k.ne[2] <= MAX_SHARED_HEADS;
    let floats = |t: &sys::ggml_tensor| t.type_ == sys::GGML_TYPE_F32 && t.nb[0] == 4 && t.ne[3] == 1;
    let result = floats(node) && node.nb[1] == 4 * q.ne[0].max(0) as usize;
    let masked = mask.is_some_and(|m| {
        half(m) && m.ne[2] == 1 && m.ne[0] == k.ne[1] && m.ne[1] >= q.ne[1] && v.ne[1] == k.ne[1]
    });
    plain && half(k) && half(v) && floats(q) && result && width && heads && masked
}

/// Computes `node`, a `FLASH_ATTN_EXT` that [`can_attend`] agreed to, on the current team.
///
/// # Safety
/// `node` and its sources are live tensors with their data in host memory, and nobody else uses
/// `node`'s.
pub unsafe fn attend(node: &sys::ggml_tensor, visible: &mut VisibleCells) {
    // SAFETY: as `can_attend` found: four sources.
    let (q, k, v, mask) = unsafe { (&*node.src[0], &*node.src[1], &*node.src[2], &*node.src[3]) };
    let (e, n, heads, groups) = (q.ne[0] as usize, q.ne[1] as usize, q.ne[2] as usize, k.ne[2] as usize);
    let scale = f32::from_bits(node.op_params[0] as u32);
    let per_group = heads / groups;
    // SAFETY: the mask has a row for each query, as `can_attend` checked.
    unsafe { visible.read(mask, n) };
    let place = |t: &sys::ggml_tensor| (t.data as usize, t.nb);
    let (q, k, v, out) = (place(q), place(k), place(v), place(node));
    let line = |(data, nb): (usize, [usize; 4]), i: usize, head: usize| data + i * nb[1] + head * nb[2];
    for_each_index(n * groups, 4, |task| {
        let (row, group) = (task / groups, task % groups);
        let heads = group * per_group..(group + 1) * per_group;
        let mut queries = [std::ptr::null(); MAX_SHARED_HEADS as usize];
        let mut results = [std::ptr::null_mut(); MAX_SHARED_HEADS as usize];
        for ((head, query), result) in heads.zip(&mut queries).zip(&mut results) {
            *query = line(q, row, head) as *const f32;
            // The result's second dimension are heads, its third rows.
            *result = line(out, head, row) as *mut f32;
        }
        let rows = |t: (usize, [usize; 4])| CellRows { first: line(t, 0, group), stride: t.1[1] };
        let group = HeadGroup {
            q: &queries[..per_group],
            k: rows(k),
            v: rows(v),
            e,
            cells: &visible.rows[row],
            scale,
        };
        // SAFETY: rows of e values inside the tensors, as their shapes and strides say; a cell is below
        // the mask's width, which is the number of keys and values. This row and these heads of the
        // result are this task's alone.
        SCORES.with_borrow_mut(|scores| unsafe {
            decode_attention::attend(&group, scores, &results[..per_group])
        });
    });
}
