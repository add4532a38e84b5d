//! llama.cpp's CPU backend, once more for each kind of processor that it has faster kernels for.
//!
//! llama.cpp can do this itself, but only as shared libraries: their names and symbols would meet
//! those of a llama.cpp that the host has. So each build is linked into one object here, in which
//! every symbol but its entry is local: nothing clashes, and above all no inline C++ function
//! compiled for a newer processor can stand in for the same one elsewhere. Which object serves is
//! decided when llama.cpp starts (`src/engine/llama/cpu.rs`).

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::llama::LlamaBuild;

/// One build of the backend: its name and the instructions it uses, as ggml's build calls them.
type Variant = (&'static str, &'static str);

/// Best first; a processor gets the first that it has all instructions of. Below the last it gets what
/// the rest of the program is compiled for.
const X86_64: &[Variant] = &[
    ("cooperlake", "SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VNNI AVX512_BF16"),
    ("cascadelake", "SSE42 AVX F16C FMA AVX2 BMI2 AVX512 AVX512_VNNI"),
    ("skylakex", "SSE42 AVX F16C FMA AVX2 BMI2 AVX512"),
    ("alderlake", "SSE42 AVX F16C FMA AVX2 BMI2 AVX_VNNI"),
    ("haswell", "SSE42 AVX F16C FMA AVX2 BMI2"),
];

const AARCH64: &[Variant] = &[("armv8_6", "dotprod fp16 i8mm"), ("armv8_2", "dotprod fp16")];

/// What Rust's feature detection calls an instruction of ggml's build.
fn detected(instruction: &str) -> Vec<String> {
    match instruction {
        "SSE42" => vec!["sse4.2".into()],
        "AVX512" => ["f", "cd", "vl", "dq", "bw"].map(|part| format!("avx512{part}")).into(),
        other => vec![other.to_lowercase().replace('_', "")],
    }
}

/// Builds the variants of this target and tells the crate of them (`$OUT_DIR/cpu_variants.rs`).
pub fn add_kernels(llama: &LlamaBuild) {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default();
    let is_elf = std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    let (variants, detect) = match arch.as_str() {
        "x86_64" if is_elf => (X86_64, "is_x86_feature_detected"),
        "aarch64" if is_elf => (AARCH64, "is_aarch64_feature_detected"),
        _ => panic!("the feature `portable` is for Linux on x86_64 and aarch64"),
    };
    let dir = out.join("variants");
    std::fs::create_dir_all(&dir).expect("OUT_DIR is writable");
    let (mut entries, mut table) = (String::new(), String::new());
    for &(name, instructions) in variants {
        let entry = format!("secondnature_ggml_cpu_{name}");
        let library = llama.compile(instructions, &dir);
        llama.archive(&library, &entry, &dir.join(format!("lib{entry}.a")));
        println!("cargo:rustc-link-lib=static={entry}");
        let has: Vec<String> = instructions
            .split(' ')
            .flat_map(detected)
            .map(|feature| format!("std::arch::{detect}!({feature:?})"))
            .collect();
        let has = has.join(" && ");
        writeln!(entries, "    fn {entry}() -> sys::ggml_backend_reg_t;").unwrap();
        writeln!(table, "    Variant {{ name: {name:?}, runs_here: || {has}, entry: {entry} }},").unwrap();
    }
    println!("cargo:rustc-link-search=native={}", dir.display());
    let source = format!(
        "unsafe extern \"C\" {{\n{entries}}}\n\nconst VARIANTS: [Variant; {}] = [\n{table}];\n",
        variants.len()
    );
    std::fs::write(out.join("cpu_variants.rs"), source).expect("OUT_DIR is writable");
}

impl LlamaBuild {
    /// Compiles the CPU backend and gives its static library. All variants share one build tree, of
    /// which only the backend is compiled anew.
    fn compile(&self, instructions: &str, dir: &Path) -> PathBuf {
        let tree = dir.join("build");
        let mut configure = Command::new("cmake");
        configure.arg("-S").arg(self.sources()).arg("-B").arg(&tree);
        let mut define = |name: &str, value: &str| {
            configure.arg(format!("-D{name}={value}"));
        };
        const TOOLS: &str = "C_COMPILER CXX_COMPILER TOOLCHAIN_FILE SYSTEM_NAME SYSTEM_PROCESSOR SYSROOT";
        for name in TOOLS.split(' ').map(|name| format!("CMAKE_{name}")) {
            if let Some(value) = self.get(&name) {
                define(&name, value);
            }
        }
        for name in ["GGML_CPU_REPACK", "GGML_LLAMAFILE", "GGML_OPENMP"] {
            define(name, self.get(name).unwrap_or("OFF"));
        }
        for part in ["TESTS", "EXAMPLES", "SERVER", "TOOLS", "APP", "COMMON"] {
            define(&format!("LLAMA_BUILD_{part}"), "OFF");
        }
        if instructions.contains("fp16") {
            define("GGML_CPU_ARM_ARCH", &format!("armv8.2-a+{}", instructions.replace(' ', "+")));
        } else {
            // Said of each, since the tree remembers what the variant before it had.
            for instruction in X86_64.iter().flat_map(|(_, all)| all.split(' ')) {
                let has = instructions.split(' ').any(|word| word == instruction);
                define(&format!("GGML_{instruction}"), if has { "ON" } else { "OFF" });
            }
        }
        define("CMAKE_BUILD_TYPE", "Release");
        define("CMAKE_POSITION_INDEPENDENT_CODE", "ON");
        define("BUILD_SHARED_LIBS", "OFF");
        define("GGML_NATIVE", "OFF");
        run(&mut configure);
        let jobs = std::env::var("NUM_JOBS").unwrap_or_else(|_| "1".into());
        run(Command::new("cmake").arg("--build").arg(&tree).args(["--target", "ggml-cpu", "-j", &jobs]));
        tree.join("ggml/src/libggml-cpu.a")
    }

    /// Makes one object of the library `from`, whose only global symbol is `entry`, and puts it into
    /// the library `to`.
    fn archive(&self, from: &Path, entry: &str, to: &Path) {
        let tool = |name: &str, default: &str| Command::new(self.get(name).unwrap_or(default));
        let object = to.with_extension("o");
        run(tool("CMAKE_LINKER", "ld")
            .args(["-r", "--force-group-allocation", "--whole-archive"])
            .arg(from)
            .arg("-o")
            .arg(&object));
        // Unique symbols, which inline functions' static data has, must be weak to become local.
        let symbols = run(tool("CMAKE_NM", "nm").arg(&object));
        let unique = symbols.lines().filter_map(|line| line.split_once(" u ")).map(|(_, name)| name.trim());
        run(tool("CMAKE_OBJCOPY", "objcopy")
            .args(unique.map(|name| format!("--weaken-symbol={name}")))
            .arg(format!("--redefine-sym=ggml_backend_cpu_reg={entry}"))
            .arg(&object));
        run(tool("CMAKE_OBJCOPY", "objcopy").arg(format!("--keep-global-symbol={entry}")).arg(&object));
        let _ = std::fs::remove_file(to);
        run(tool("CMAKE_AR", "ar").arg("crs").arg(to).arg(&object));
    }
}

/// Runs a tool and gives what it printed.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}\n{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
