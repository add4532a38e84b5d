//! The structure of `src/` against ARCHITECTURE.md: who imports whom, and that every type name has one
//! meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use regex::Regex;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The code of a file that is compiled into the library: without comments and without unit tests.
fn code_of(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let tests = Regex::new(r"(?m)^#\[cfg\(test\)\]\n(#\[.*\]\n)*(pub(\(crate\))? )?mod \w+ \{").unwrap();
    let text = tests.find(&text).map_or(text.as_str(), |found| &text[..found.start()]);
    text.lines().filter(|line| !line.trim_start().starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// Every source file of the library, by module: the folder or file directly under `src/`.
fn sources() -> BTreeMap<String, Vec<PathBuf>> {
    fn collect(dir: &Path, into: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, into);
            } else if path.extension().is_some_and(|e| e == "rs") {
                into.push(path);
            }
        }
    }
    let src = Path::new(ROOT).join("src");
    let mut files = Vec::new();
    collect(&src, &mut files);
    let mut modules = BTreeMap::<String, Vec<PathBuf>>::new();
    for file in files {
        let below = file.strip_prefix(&src).unwrap();
        let is_test = below.components().any(|part| {
            let name = part.as_os_str().to_str().unwrap().trim_end_matches(".rs");
            name == "tests" || name == "testing" || name.ends_with("_tests")
        });
        let first = below.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = first.trim_end_matches(".rs").to_string();
        if !is_test && !["lib", "main"].contains(&module.as_str()) {
            modules.entry(module).or_default().push(file);
        }
    }
    modules
}

/// The first names behind every `crate::` of `code`, groups in braces included.
fn roots(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        if code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.extend(first_name(rest));
            continue;
        };
        let (mut depth, mut start) = (0, 0);
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth > 0 => depth -= 1,
                ',' | '}' if depth == 0 => {
                    found.extend(first_name(group[start..i].trim_start()));
                    start = i + 1;
                    if c == '}' {
                        break;
                    }
                }
                _ => {}
            }
        }
    }
    found
}

fn first_name(path: &str) -> Option<String> {
    let end = path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len());
    (end > 0).then(|| path[..end].to_string())
}

/// What `lib.rs` re-exports at the root, with the module that it comes from.
fn reexports() -> BTreeMap<String, String> {
    let lib = code_of(&Path::new(ROOT).join("src/lib.rs"));
    let line = Regex::new(r"pub use (\w+)::(?:\{([^}]*)\}|(\w+));").unwrap();
    line.captures_iter(&lib)
        .flat_map(|found| {
            let names = found.get(2).or(found.get(3)).unwrap().as_str();
            names.split(',').map(|name| (name.trim().to_string(), found[1].to_string())).collect::<Vec<_>>()
        })
        .collect()
}

/// Module → the modules that its code imports.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let (sources, reexports) = (sources(), reexports());
    let mut all = BTreeMap::new();
    for (module, files) in &sources {
        let mut imported = BTreeSet::new();
        for name in files.iter().flat_map(|file| roots(&code_of(file))) {
            let target = reexports.get(&name).unwrap_or(&name);
            if target != module && target != "testing" {
                assert!(sources.contains_key(target), "{module}: crate::{name} is no module of src/");
                imported.insert(target.clone());
            }
        }
        all.insert(module.clone(), imported);
    }
    all
}

/// The table of ARCHITECTURE.md, from the top: module, and what it says it imports.
fn table() -> Vec<(String, BTreeSet<String>)> {
    let text = std::fs::read_to_string(Path::new(ROOT).join("ARCHITECTURE.md")).unwrap();
    let row = Regex::new(r"(?m)^\| `(\w+)` \|.*\| ?([\w` ]*) ?\|$").unwrap();
    let names = |cell: &str| cell.replace('`', "").split_whitespace().map(str::to_string).collect();
    row.captures_iter(&text).map(|found| (found[1].to_string(), names(&found[2]))).collect()
}

#[test]
fn modules_import_what_the_table_lists_and_only_downwards() {
    let (imports, table) = (imports(), table());
    let listed: BTreeSet<_> = table.iter().map(|(module, _)| module).collect();
    assert_eq!(listed, imports.keys().collect(), "ARCHITECTURE.md lists every module of src/ once");
    assert_eq!(listed.len(), table.len(), "a module is listed twice");
    let place = |module: &str| table.iter().position(|(listed, _)| listed == module).unwrap();
    for (module, says) in &table {
        let found = &imports[module];
        assert_eq!(found, says, "what `{module}` imports (left), and what the table says (right)");
        for target in found {
            assert!(place(target) > place(module), "`{module}` imports `{target}`, which stands above it");
        }
    }
}

/// One word for one thing: no two types of the crate share a name. The C structs have prefixes of their
/// own; associated types and generic parameters are no definitions.
#[test]
fn no_type_name_has_two_meanings() {
    let definition = Regex::new(r"(?m)^\s*(?:pub(?:\([^)]*\))? )?(?:struct|enum|trait|union) (\w+)").unwrap();
    let mut places = BTreeMap::<String, Vec<String>>::new();
    for file in sources().into_values().flatten() {
        for found in definition.captures_iter(&code_of(&file)) {
            let place = file.strip_prefix(ROOT).unwrap().display().to_string();
            places.entry(found[1].to_string()).or_default().push(place);
        }
    }
    let twice: Vec<String> = places
        .iter()
        .filter(|(_, places)| places.len() > 1)
        .map(|(name, places)| format!("{name}: {}", places.join(", ")))
        .collect();
    assert!(places.len() > 100);
    assert!(twice.is_empty(), "types that share a name:\n{}", twice.join("\n"));
}
