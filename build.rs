//! Names the shared library the way the system's loader expects it, and for `portable` builds adds
//! llama.cpp's CPU kernels for newer processors.

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

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/portable.rs");
    name_library();
    #[cfg(feature = "portable")]
    portable::add_kernels();
}
