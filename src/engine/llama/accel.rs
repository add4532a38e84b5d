//! llama.cpp's weight products, computed here.
//!
//! ggml's quantized kernels are made for one token; with a batch of sequences they unpack every
//! weight again for every row. llama.cpp asks each *accelerator device* (a BLAS library, usually)
//! whether it wants an operation, so this registers one that wants the products of weights with a
//! batch, keeps those weights unpacked ([`PrepackedBf16`]), and leaves everything else to the CPU device.
//!
//! A device is asked by llama.cpp without saying on whose behalf, and there is one for the whole
//! process. Both questions and work come on the thread that called llama.cpp, so that thread says
//! whose [`Accelerator`] is in force ([`Accelerator::run`]); without one, the device wants nothing.
//!
//! The structures below are those of `ggml-backend-impl.h`, of the llama.cpp version that this
//! crate pins.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::ptr::{null, null_mut};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use llama_cpp_sys_2 as sys;

use super::attend::{VisibleCells, attend, can_attend};
use crate::Result;
use crate::gguf::{QuantType, Rows};
use crate::kernels::gemm::{PackedLhs, PrepackedBf16};
use crate::threads::{Team, Wait};

/// Fewest rows whose product is worth it; a single token is bound by reading the weights, which are
/// smaller as they are stored.
const MIN_ROWS: i64 = 2;

/// The unpacked weights of one model, and the threads that multiply them.
pub struct Accelerator {
    /// Whether it multiplies weights, and not only attends.
    multiplies: bool,
    /// By address of the weight in the model, which outlives this.
    prepacked: Mutex<HashMap<usize, PrepackedBf16>>,
    lhs: Mutex<PackedLhs>,
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
        let (prepacked, lhs, visible) = (Mutex::default(), Mutex::default(), Mutex::default());
        Ok(Accelerator { multiplies, prepacked, lhs, visible, team })
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

    /// Computes a `MUL_MAT` node that [`wants`] agreed to.
    ///
    /// # Safety
    /// `node` and its sources are live tensors with their data in host memory, and nobody else
    /// uses `node`'s.
    unsafe fn multiply(&self, node: &sys::ggml_tensor) {
        // SAFETY: a MUL_MAT has two sources, live as the node is; `wants` checked that all three are
        // contiguous matrices of these types, so that their data has these lengths.
        let (weight, x, y, n) = unsafe {
            let (w, x) = (&*node.src[0], &*node.src[1]);
            let (n_in, n_out, n) = (w.ne[0] as usize, w.ne[1] as usize, x.ne[1] as usize);
            let ty = QuantType::from_id(w.type_).expect("checked by `wants`");
            let bytes = ty.row_bytes(n_in).expect("checked by `wants`") * n_out;
            let data = std::slice::from_raw_parts(w.data.cast::<u8>(), bytes);
            let weight = Rows { ty, data, rows: n_out, cols: n_in };
            let x = std::slice::from_raw_parts(x.data.cast::<f32>(), n * n_in);
            (weight, x, std::slice::from_raw_parts_mut(node.data.cast::<f32>(), n * n_out), n)
        };
        let (mut prepacked, mut lhs) = (lock(&self.prepacked), lock(&self.lhs));
        let prepacked =
            prepacked.entry(weight.data.as_ptr() as usize).or_insert_with(|| PrepackedBf16::new(weight));
        prepacked.matmul(x, n, y, &mut lhs);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `node` is a product of one of the model's weights with enough rows.
///
/// # Safety
/// `node` and its sources are live tensors.
unsafe fn wants(node: &sys::ggml_tensor) -> bool {
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
    // Tiny matrices cost more to hand over than to multiply.
    let large = w.ne[0] >= 64 && w.ne[1] >= 64 && w.ne[0] % 2 == 0;
    is_weight && matrices && plain(x) && plain(node) && stored && large && x.ne[1] >= MIN_ROWS
}

#[repr(C)]
struct Device {
    get_name: extern "C" fn(*mut Device) -> *const c_char,
    get_description: extern "C" fn(*mut Device) -> *const c_char,
    get_memory: unsafe extern "C" fn(*mut Device, *mut usize, *mut usize),
    get_type: extern "C" fn(*mut Device) -> sys::ggml_backend_dev_type,
    get_props: unsafe extern "C" fn(*mut Device, *mut sys::ggml_backend_dev_props),
    init_backend: extern "C" fn(*mut Device, *const c_char) -> *mut Backend,
    get_buffer_type: extern "C" fn(*mut Device) -> sys::ggml_backend_buffer_type_t,
    get_host_buffer_type: *const c_void,
    buffer_from_host_ptr: *const c_void,
    supports_op: unsafe extern "C" fn(*mut Device, *const sys::ggml_tensor) -> bool,
    supports_buft: extern "C" fn(*mut Device, sys::ggml_backend_buffer_type_t) -> bool,
    offload_op: *const c_void,
    events: [*const c_void; 3],
    reg: *mut Registration,
    context: *mut c_void,
}

#[repr(C)]
struct Registration {
    api_version: i32,
    get_name: extern "C" fn(*mut Registration) -> *const c_char,
    get_device_count: extern "C" fn(*mut Registration) -> usize,
    get_device: extern "C" fn(*mut Registration, usize) -> *mut Device,
    get_proc_address: extern "C" fn(*mut Registration, *const c_char) -> *mut c_void,
    /// The device.
    context: *mut c_void,
}

#[repr(C)]
struct Backend {
    guid: *const [u8; 16],
    get_name: extern "C" fn(*mut Backend) -> *const c_char,
    free: unsafe extern "C" fn(*mut Backend),
    /// Asynchronous transfers, `synchronize`, graph plans.
    unused: [*const c_void; 10],
    graph_compute: unsafe extern "C" fn(*mut Backend, *mut sys::ggml_cgraph) -> sys::ggml_status,
    /// Events, `graph_optimize`.
    unused_too: [*const c_void; 3],
    device: *mut Device,
    context: *mut c_void,
}

const API_VERSION: i32 = 3;
const NAME: &CStr = c"secondnature";
static GUID: [u8; 16] = *b"secondnature-gem";

unsafe extern "C" {
    fn ggml_backend_register(reg: *mut Registration);
}

/// Makes the device known to ggml, once; ggml keeps it as long as the process lives.
fn register() {
    // The address: ggml forgets it when the process ends, and what nothing points to then looks lost
    // to a leak checker.
    static REGISTERED: OnceLock<usize> = OnceLock::new();
    REGISTERED.get_or_init(|| {
        let device = Box::into_raw(Box::new(Device {
            get_name: device_name,
            get_description: device_name,
            get_memory: device_memory,
            get_type: device_type,
            get_props: device_props,
            init_backend,
            get_buffer_type: buffer_type,
            get_host_buffer_type: null(),
            buffer_from_host_ptr: null(),
            supports_op,
            supports_buft,
            offload_op: null(),
            events: [null(); 3],
            reg: null_mut(),
            context: null_mut(),
        }));
        let reg = Box::into_raw(Box::new(Registration {
            api_version: API_VERSION,
            get_name: reg_name,
            get_device_count,
            get_device,
            get_proc_address,
            context: device.cast(),
        }));
        // SAFETY: both were just made and are never freed; ggml takes them as its own structures,
        // whose layout they have.
        unsafe {
            (*device).reg = reg;
            ggml_backend_register(reg);
        }
        reg as usize
    });
}

extern "C" fn reg_name(_: *mut Registration) -> *const c_char {
    NAME.as_ptr()
}

extern "C" fn get_device_count(_: *mut Registration) -> usize {
    1
}

extern "C" fn get_device(reg: *mut Registration, _: usize) -> *mut Device {
    // SAFETY: ggml hands back what `register` gave it.
    unsafe { (*reg).context.cast() }
}

extern "C" fn get_proc_address(_: *mut Registration, _: *const c_char) -> *mut c_void {
    null_mut()
}

extern "C" fn device_name(_: *mut Device) -> *const c_char {
    NAME.as_ptr()
}

unsafe extern "C" fn device_memory(_: *mut Device, free: *mut usize, total: *mut usize) {
    // SAFETY: ggml gives two places to write to. Nothing to report: the memory is the host's.
    unsafe { (*free, *total) = (0, 0) }
}

extern "C" fn device_type(_: *mut Device) -> sys::ggml_backend_dev_type {
    sys::GGML_BACKEND_DEVICE_TYPE_ACCEL
}

unsafe extern "C" fn device_props(_: *mut Device, props: *mut sys::ggml_backend_dev_props) {
    // SAFETY: ggml gives a place to write to.
    unsafe {
        *props = sys::ggml_backend_dev_props {
            name: NAME.as_ptr(),
            description: NAME.as_ptr(),
            memory_free: 0,
            memory_total: 0,
            type_: sys::GGML_BACKEND_DEVICE_TYPE_ACCEL,
            device_id: null(),
            caps: sys::ggml_backend_dev_caps {
                async_: false,
                host_buffer: false,
                buffer_from_host_ptr: false,
                events: false,
                mmap_support: true,
            },
        }
    }
}

extern "C" fn init_backend(device: *mut Device, _: *const c_char) -> *mut Backend {
    Box::into_raw(Box::new(Backend {
        guid: &raw const GUID,
        get_name: backend_name,
        free: free_backend,
        unused: [null(); 10],
        graph_compute,
        unused_too: [null(); 3],
        device,
        context: null_mut(),
    }))
}

extern "C" fn backend_name(_: *mut Backend) -> *const c_char {
    NAME.as_ptr()
}

unsafe extern "C" fn free_backend(backend: *mut Backend) {
    // SAFETY: made by `init_backend`, freed by ggml once.
    drop(unsafe { Box::from_raw(backend) });
}

extern "C" fn buffer_type(_: *mut Device) -> sys::ggml_backend_buffer_type_t {
    // SAFETY: returns a static of ggml's.
    unsafe { sys::ggml_backend_cpu_buffer_type() }
}

extern "C" fn supports_buft(_: *mut Device, buft: sys::ggml_backend_buffer_type_t) -> bool {
    // SAFETY: ggml asks about a live buffer type.
    unsafe { sys::ggml_backend_buft_is_host(buft) }
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

unsafe extern "C" fn supports_op(_: *mut Device, op: *const sys::ggml_tensor) -> bool {
    // SAFETY: ggml asks about a live node.
    let op = unsafe { &*op };
    // SAFETY: set by `run`, which is still on this thread's stack.
    let Some(accelerator) = (unsafe { CURRENT.get().as_ref() }) else { return false };
    // SAFETY: as above.
    unsafe {
        match op.op {
            sys::GGML_OP_MUL_MAT => accelerator.multiplies && wants(op),
            sys::GGML_OP_FLASH_ATTN_EXT => can_attend(op),
            view => is_view(view),
        }
    }
}

unsafe extern "C" fn graph_compute(_: *mut Backend, graph: *mut sys::ggml_cgraph) -> sys::ggml_status {
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
