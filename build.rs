//! Names the shared library the way the system's loader expects it, compiles the C part of the
//! accelerator device against llama.cpp's headers, and for `portable` builds adds llama.cpp's CPU
//! kernels for newer processors.

#[path = "build/llama.rs"]
mod llama;
#[cfg(feature = "portable")]
#[path = "build/portable.rs"]
mod portable;

/// Programs record this name, so that an incompatible library is never loaded in its place. Before
/// 1.0 every minor version may change the ABI, hence `.so.0.1`.
fn name_library() {
    let part = |name: &str| std::env::var(format!("CARGO_PKG_VERSION_{name}")).unwrap_or_default();
    let (major, minor) = (part("MAJOR"), part("MINOR"));
    let abi = if major == "0" { format!("{major}.{minor}") } else { major };
    match std::env::var("CARGO_CFG_TARGET_OS").as_deref() {
        Ok("macos") => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-install_name,@rpath/libsecondnature.{abi}.dylib")
        }
        Ok("linux" | "android" | "freebsd" | "netbsd" | "openbsd") => {
            println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsecondnature.so.{abi}")
        }
        _ => {}
    }
}

/// The device's structs are those of a header that is private to ggml; compiled against the very
/// sources that llama.cpp was built from, they cannot differ from it.
fn compile_device(llama: &llama::LlamaBuild) {
    const SOURCE: &str = "src/engine/llama/device.c";
    println!("cargo:rerun-if-changed={SOURCE}");
    let ggml = llama.sources().join("ggml");
    cc::Build::new()
        .file(SOURCE)
        .include(ggml.join("include"))
        .include(ggml.join("src"))
        .std("c11")
        .flag_if_supported("-fvisibility=hidden")
        .flag_if_supported("-Werror=incompatible-pointer-types")
        .warnings(false)
        .compile("secondnature_device");
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/llama.rs");
    println!("cargo:rerun-if-changed=build/portable.rs");
    name_library();
    let llama = llama::LlamaBuild::find();
    compile_device(&llama);
    #[cfg(feature = "portable")]
    portable::add_kernels(&llama);
}
