//! The build of llama.cpp that llama-cpp-sys-2 made: its sources, its tools and its settings.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// CMake's cache of that build, so that what is compiled here agrees with it.
pub struct LlamaBuild(HashMap<String, String>);

impl LlamaBuild {
    pub fn find() -> LlamaBuild {
        // Cargo passes on what the `links = "llama"` package says about itself.
        let told = std::env::var_os("DEP_LLAMA_GGML_CMAKE_DIR").expect("llama-cpp-sys-2 names its build");
        let out = Path::new(&told).ancestors().nth(2).expect("lib/cmake lies in its OUT_DIR");
        let cache = out.join("build/CMakeCache.txt");
        let text =
            std::fs::read_to_string(&cache).unwrap_or_else(|error| panic!("{}: {error}", cache.display()));
        let entry = |line: &str| {
            let (name, value) = line.split_once('=')?;
            Some((name.split(':').next()?.to_string(), value.to_string()))
        };
        LlamaBuild(text.lines().filter(|line| !line.starts_with(['#', '/'])).filter_map(entry).collect())
    }

    /// A setting of the build.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty() && !value.ends_with("NOTFOUND"))
    }

    /// The directory of llama.cpp's sources.
    pub fn sources(&self) -> PathBuf {
        self.get("CMAKE_HOME_DIRECTORY").expect("CMake keeps it").into()
    }
}
