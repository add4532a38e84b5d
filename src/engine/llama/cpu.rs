//! The CPU kernels for this processor, in a build that is for any (feature `portable`).
//!
//! Such a build holds llama.cpp's CPU backend several times over, compiled for one kind of processor
//! each (`build/portable.rs`). llama.cpp takes the first CPU device that it finds, so the one that
//! registers itself makes place for the best that runs here.

use llama_cpp_sys_2 as sys;

/// The backend, compiled for processors that have certain instructions.
struct Variant {
    name: &'static str,
    /// Whether this processor and its operating system have them.
    runs_here: fn() -> bool,
    entry: unsafe extern "C" fn() -> sys::ggml_backend_reg_t,
}

// `VARIANTS`, best first.
include!(concat!(env!("OUT_DIR"), "/cpu_variants.rs"));

/// Gives llama.cpp the best kernels that run here, or those that `SN_CPU` names, which may
/// be `baseline`, if they run here. To be called before the first model is loaded, by one thread.
pub fn choose() {
    let wanted = std::env::var("SN_CPU").ok().filter(|name| !name.is_empty());
    let suits = |variant: &&Variant| wanted.as_deref().is_none_or(|name| name == variant.name);
    let Some(best) = VARIANTS.iter().filter(suits).find(|variant| (variant.runs_here)()) else {
        return;
    };
    // SAFETY: the registry's own functions, on its own entry and on one that lives for ever; nothing
    // uses the first backend yet, and this processor has what the other needs.
    unsafe {
        let first = sys::ggml_backend_reg_by_name(c"CPU".as_ptr());
        if !first.is_null() {
            sys::ggml_backend_unload(first);
        }
        sys::ggml_backend_register((best.entry)());
    }
}

#[cfg(test)]
mod tests {
    use super::VARIANTS;

    #[test]
    fn every_variant_that_runs_here_is_the_cpu_backend() {
        for variant in VARIANTS.iter().filter(|variant| (variant.runs_here)()) {
            // SAFETY: this processor has what it needs; the entry may be called by any thread.
            let reg = unsafe { (variant.entry)() };
            // SAFETY: the entry gives a registration that lives for ever.
            let name = unsafe { std::ffi::CStr::from_ptr(super::sys::ggml_backend_reg_name(reg)) };
            assert_eq!(name, c"CPU", "{}", variant.name);
        }
    }
}
