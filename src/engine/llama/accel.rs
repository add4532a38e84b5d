//! llama.cpp's weight products and attention of batches, computed by this library.
//!
//! ggml's quantized kernels are made for one token; with a batch of sequences they dequantize every
//! weight again for every row. llama.cpp asks each *accelerator device* (a BLAS library, usually)
//! whether it supports an operation. This module registers one that supports products of weights
//! with a batch, keeps those weights dequantized ([`Prepacked`]), and leaves everything else to
//! the CPU device.
//!
//! llama.cpp asks a device without saying for which model, and there is one device in the process.
//! Questions and work come on the thread that called llama.cpp, so that thread installs its
//! [`Accelerator`] first ([`Accelerator::run`]); on a thread without one, the device supports nothing.
//!
//! The device itself is C (`device.c`), compiled against ggml's own header.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::CStr;
use std::ptr::null;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use llama_cpp_sys_2 as sys;

use super::attend::{VisibleCells, attend, can_attend};
use crate::Result;
use crate::gguf::{QuantType, Rows};
use crate::kernels::gemm::{Prepacked, PrepackedBuffers};
use crate::threads::{Team, Wait};

/// Fewest rows whose product is worth it; a single token is bound by reading the weights, which are mostly
/// smaller as they are stored.
const MIN_ROWS: i64 = 2;

/// The dequantized weights of one model, and the threads that multiply them.
pub struct Accelerator {
    /// Whether it multiplies weights, and not only attends.
    multiplies: bool,
    /// By address of the weight in the model, which outlives this.
    prepacked: Mutex<HashMap<usize, Prepacked>>,
    buffers: Mutex<PrepackedBuffers>,
    visible: Mutex<VisibleCells>,
    team: Team,
}

thread_local! {
    static CURRENT: Cell<*const Accelerator> = const { Cell::new(null()) };
}

/// Takes the accelerator back when a call ends, however it does.
struct Scope;

impl Drop for Scope {
    fn drop(&mut self) {
        CURRENT.set(null());
    }
}

impl Accelerator {
    /// One that computes on `threads` threads: attention, and products if it `multiplies`. Registers the
    /// device with ggml.
    pub fn new(threads: u32, wait: Wait, multiplies: bool) -> Result<Accelerator> {
        register();
        let team = Team::new(Some(threads), "decode", wait)?;
        let (prepacked, buffers, visible) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Accelerator { multiplies, prepacked, buffers, visible, team })
    }

    /// Runs `work`, which calls llama.cpp, with this accelerator in force.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        self.team.enter(|| {
            let _scope = Scope;
            CURRENT.set(self);
            lock(&self.visible).clear();
            work()
        })
    }

    /// Computes a `MUL_MAT` node that [`can_multiply`] accepted to.
    ///
    /// # Safety
    /// `node` and its sources are live tensors with their data in host memory, and nobody else
    /// uses `node`'s.
    unsafe fn multiply(&self, node: &sys::ggml_tensor) {
        // SAFETY: a MUL_MAT has two sources, live as the node is; `can_multiply` checked that all three are
        // contiguous matrices of these types, so that their data has these lengths.
        let (weight, x, y, n) = unsafe {
            let (w, x) = (&*node.src[0], &*node.src[1]);
            let (n_in, n_out, n) = (w.ne[0] as usize, w.ne[1] as usize, x.ne[1] as usize);
            let ty = QuantType::from_id(w.type_).expect("checked by `can_multiply`");
            let bytes = ty.row_bytes(n_in).expect("checked by `can_multiply`") * n_out;
            let data = std::slice::from_raw_parts(w.data.cast::<u8>(), bytes);
            let weight = Rows { ty, data, rows: n_out, cols: n_in };
            let x = std::slice::from_raw_parts(x.data.cast::<f32>(), n * n_in);
            (weight, x, std::slice::from_raw_parts_mut(node.data.cast::<f32>(), n * n_out), n)
        };
        let (mut prepacked, mut buffers) = (lock(&self.prepacked), lock(&self.buffers));
        let prepacked =
            prepacked.entry(weight.data.as_ptr() as usize).or_insert_with(|| Prepacked::new(weight));
        prepacked.matmul(x, n, y, &mut buffers);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `node` is a product of one of the model's weights with enough rows.
///
/// # Safety
/// `node` and its sources are live tensors.
unsafe fn can_multiply(node: &sys::ggml_tensor) -> bool {
    // SAFETY: the caller's promise; a MUL_MAT has two sources.
    let (w, x) = unsafe { (&*node.src[0], &*node.src[1]) };
    // SAFETY: names are NUL-terminated arrays.
    let name = unsafe { CStr::from_ptr(w.name.as_ptr()) };
    let is_weight = name.to_bytes().ends_with(b".weight");
    let matrices = [w, x, node].iter().all(|t| t.ne[2] == 1 && t.ne[3] == 1);
    let plain = |t: &sys::ggml_tensor| {
        t.type_ == sys::GGML_TYPE_F32 && t.nb[0] == 4 && t.nb[1] == 4 * t.ne[0].max(0) as usize
    };
    let readable = QuantType::from_id(w.type_).filter(|ty| ty.is_readable() && ty.is_weight_type());
    let stored = readable.is_some_and(|ty| {
        ty.row_bytes(w.ne[0].max(0) as usize) == Some(w.nb[1]) && w.nb[0] == ty.block_bytes()
    });
    // A tiny matrix takes longer to hand to other threads than to multiply.
    let large = w.ne[0] >= 64 && w.ne[1] >= 64 && w.ne[0] % 2 == 0;
    is_weight && matrices && plain(x) && plain(node) && stored && large && x.ne[1] >= MIN_ROWS
}

type SupportsOp = unsafe extern "C" fn(*const sys::ggml_tensor) -> bool;
type Compute = unsafe extern "C" fn(*mut sys::ggml_cgraph) -> sys::ggml_status;

unsafe extern "C" {
    /// `device.c`.
    fn secondnature_register_device(supports_op: SupportsOp, compute: Compute);
}

/// Makes the device known to ggml, once; ggml keeps it as long as the process lives.
fn register() {
    static REGISTERED: Once = Once::new();
    // SAFETY: called once, with functions that may be called by any thread.
    REGISTERED.call_once(|| unsafe { secondnature_register_device(supports_op, graph_compute) });
}

/// Operations that only change how a tensor is seen.
fn is_view(op: sys::ggml_op) -> bool {
    let views = [
        sys::GGML_OP_NONE,
        sys::GGML_OP_RESHAPE,
        sys::GGML_OP_VIEW,
        sys::GGML_OP_PERMUTE,
        sys::GGML_OP_TRANSPOSE,
    ];
    views.contains(&op)
}

unsafe extern "C" fn supports_op(op: *const sys::ggml_tensor) -> bool {
    // SAFETY: ggml asks about a live node.
    let op = unsafe { &*op };
    // SAFETY: set by `run`, which is still on this thread's stack.
    let Some(accelerator) = (unsafe { CURRENT.get().as_ref() }) else { return false };
    // SAFETY: as above.
    unsafe {
        match op.op {
            sys::GGML_OP_MUL_MAT => accelerator.multiplies && can_multiply(op),
            sys::GGML_OP_FLASH_ATTN_EXT => can_attend(op),
            view => is_view(view),
        }
    }
}

unsafe extern "C" fn graph_compute(graph: *mut sys::ggml_cgraph) -> sys::ggml_status {
    // SAFETY: set by `run`, which is still on this thread's stack.
    let Some(accelerator) = (unsafe { CURRENT.get().as_ref() }) else { return sys::GGML_STATUS_FAILED };
    // A panic must not cross llama.cpp.
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        // SAFETY: ggml gives a live graph of operations that `supports_op` agreed to.
        unsafe {
            for i in 0..sys::ggml_graph_n_nodes(graph) {
                let node = &*sys::ggml_graph_node(graph, i);
                match node.op {
                    sys::GGML_OP_MUL_MAT => accelerator.multiply(node),
                    sys::GGML_OP_FLASH_ATTN_EXT => attend(node, &mut lock(&accelerator.visible)),
                    _ => {}
                }
            }
        }
    }));
    if done.is_ok() { sys::GGML_STATUS_SUCCESS } else { sys::GGML_STATUS_FAILED }
}
