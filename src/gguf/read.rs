//! Reads GGUF files, trusting nothing: every length is checked against the file before it is used.
//!
//! Format: the GGUF specification in ggml's `docs/gguf.md`, versions 2 and 3, little-endian.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::quant::{QuantType, Rows};
use crate::{Error, Result};

const MAGIC: &[u8; 4] = b"GGUF";
const DEFAULT_ALIGNMENT: u64 = 32;
/// Longest string accepted; the largest real ones are chat templates of some 100 kB.
const MAX_STRING: u64 = 64 << 20;
const MAX_NAME: u64 = 63; // GGML_MAX_NAME - 1

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Any integer type of the format; all fit.
    Int(i128),
    /// `f32` or `f64`.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A UTF-8 string (invalid bytes replaced).
    Str(String),
    /// An array; nested arrays are refused, as llama.cpp refuses them.
    Array(Vec<Value>),
}

/// Where one tensor lies.
#[derive(Debug, Clone)]
pub struct TensorInfo {
    /// Its name, such as `blk.0.attn_q.weight`.
    pub name: String,
    /// Extents in ggml order, `ne[0]` (the row length) first; 1 to 4 of them.
    pub dims: Vec<usize>,
    /// How its values are stored.
    pub ty: QuantType,
    shard: usize,
    start: usize,
    bytes: usize,
}

impl TensorInfo {
    /// Size in the file.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of weights.
    pub fn elements(&self) -> usize {
        self.dims.iter().product()
    }
}

/// An opened GGUF file (all parts of a split one), its tensors memory-mapped.
///
/// Cheap to clone; safe to share between threads. The file must not be truncated while open.
#[derive(Debug, Clone)]
pub struct Gguf {
    files: Arc<Vec<PathBuf>>,
    values: Arc<HashMap<String, Value>>,
    tensors: Arc<HashMap<String, TensorInfo>>,
    order: Arc<Vec<String>>,
    shards: Arc<Vec<Mmap>>,
}

impl Gguf {
    /// Opens and checks `path`; of a split model, the first part, whose siblings are found by name.
    ///
    /// # Errors
    /// [`Error::Io`] when the file cannot be read; [`Error::Model`] when it is not a well-formed
    /// GGUF: wrong magic, truncated, tensors outside the file, unknown types.
    pub fn open(path: impl AsRef<Path>) -> Result<Gguf> {
        let path = path.as_ref();
        let mut gguf = Builder::default();
        gguf.add_file(path)?;
        let parts = match gguf.values.get("split.count") {
            Some(Value::Int(n)) if *n > 1 => *n,
            _ => 1,
        };
        let mut files = vec![path.to_path_buf()];
        for part in 2..=parts {
            let sibling = split_sibling(path, part, parts)?;
            gguf.add_file(&sibling)?;
            files.push(sibling);
        }
        Ok(Gguf {
            files: Arc::new(files),
            values: Arc::new(gguf.values),
            tensors: Arc::new(gguf.tensors),
            order: Arc::new(gguf.order),
            shards: Arc::new(gguf.shards),
        })
    }

    /// The (first) file.
    pub fn path(&self) -> &Path {
        &self.files[0]
    }

    /// All files of the model, one unless it is split.
    pub fn files(&self) -> &[PathBuf] {
        &self.files
    }

    /// The metadata value of `key`.
    pub fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// All metadata, sorted by key.
    pub fn values(&self) -> Vec<(&str, &Value)> {
        let mut all: Vec<_> = self.values.iter().map(|(k, v)| (k.as_str(), v)).collect();
        all.sort_by_key(|(k, _)| *k);
        all
    }

    /// A string value.
    pub fn str(&self, key: &str) -> Option<&str> {
        match self.value(key) {
            Some(Value::Str(s)) => Some(s),
            _ => None,
        }
    }

    /// An integer value, or the first of an array of them (per-layer values that agree).
    pub fn int(&self, key: &str) -> Option<i128> {
        match self.value(key) {
            Some(Value::Int(n)) => Some(*n),
            Some(Value::Array(a)) => match a.first() {
                Some(Value::Int(n)) if a.iter().all(|v| v == &a[0]) => Some(*n),
                _ => None,
            },
            _ => None,
        }
    }

    /// A float value.
    pub fn float(&self, key: &str) -> Option<f64> {
        match self.value(key) {
            Some(Value::Float(x)) => Some(*x),
            Some(Value::Int(n)) => Some(*n as f64),
            _ => None,
        }
    }

    /// The tensor called `name`.
    pub fn tensor(&self, name: &str) -> Option<&TensorInfo> {
        self.tensors.get(name)
    }

    /// All tensors in file order.
    pub fn tensors(&self) -> impl Iterator<Item = &TensorInfo> {
        self.order.iter().map(|name| &self.tensors[name])
    }

    /// The stored bytes of `tensor`, which must come from this file.
    pub fn data(&self, tensor: &TensorInfo) -> &[u8] {
        &self.shards[tensor.shard][tensor.start..tensor.start + tensor.bytes]
    }

    /// `tensor` as a matrix of rows.
    pub fn rows(&self, tensor: &TensorInfo) -> Rows<'_> {
        let cols = tensor.dims[0];
        Rows { ty: tensor.ty, data: self.data(tensor), rows: tensor.elements() / cols, cols }
    }

    /// All of `tensor` as `f32`.
    pub fn read_f32(&self, tensor: &TensorInfo) -> Vec<f32> {
        let mut out = vec![0.0; tensor.elements()];
        tensor.ty.dequantize(self.data(tensor), &mut out);
        out
    }
}

/// `model-00001-of-00003.gguf` → part `part` of it.
fn split_sibling(first: &Path, part: i128, parts: i128) -> Result<PathBuf> {
    let name = first.file_name().and_then(|n| n.to_str()).unwrap_or_default();
    let head = format!("-00001-of-{parts:05}.gguf");
    let stem = name.strip_suffix(&head).ok_or_else(|| {
        Error::model(first, format!("is part of a split model of {parts} files; pass the first part, whose name ends in \"{head}\""))
    })?;
    Ok(first.with_file_name(format!("{stem}-{part:05}-of-{parts:05}.gguf")))
}

#[derive(Default)]
struct Builder {
    values: HashMap<String, Value>,
    tensors: HashMap<String, TensorInfo>,
    order: Vec<String>,
    shards: Vec<Mmap>,
}

impl Builder {
    fn add_file(&mut self, path: &Path) -> Result<()> {
        // Opening a pipe would wait for a writer.
        #[cfg(unix)]
        if std::fs::metadata(path).is_ok_and(|meta| {
            use std::os::unix::fs::FileTypeExt;
            meta.file_type().is_fifo()
        }) {
            return Err(Error::model(path, "is a pipe; expected a GGUF file"));
        }
        let file = File::open(path).map_err(Error::io("open", path))?;
        let meta = file.metadata().map_err(Error::io("read", path))?;
        if meta.is_dir() {
            return Err(Error::model(path, "is a directory; expected a GGUF file"));
        }
        if meta.len() < 24 {
            return Err(Error::model(
                path,
                format!("not a GGUF file ({} bytes, a GGUF has at least 24)", meta.len()),
            ));
        }
        // SAFETY: the mapping is read-only; as documented on `Gguf`, the file must not be truncated
        // while it is open, which llama.cpp's own mapping of the same file requires as well.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io("map model", path))?;
        let bad = |why: String| Error::model(path, why);
        let header = Cursor { bytes: &map, at: 0 }.parse().map_err(bad)?;

        let first = self.shards.is_empty();
        for (key, value) in header.values {
            if first {
                self.values.insert(key, value);
            }
        }
        for t in header.tensors {
            let start = header
                .data_start
                .checked_add(t.offset)
                .filter(|s| s.checked_add(t.bytes as u64).is_some_and(|end| end <= map.len() as u64));
            let Some(start) = start else {
                return Err(bad(format!(
                    "truncated: tensor \"{}\" needs {} bytes at offset {}, the file has {}; download it again",
                    t.name,
                    t.bytes,
                    header.data_start.saturating_add(t.offset),
                    map.len()
                )));
            };
            let info = TensorInfo {
                name: t.name.clone(),
                dims: t.dims,
                ty: t.ty,
                shard: self.shards.len(),
                start: start as usize,
                bytes: t.bytes,
            };
            if self.tensors.insert(t.name.clone(), info).is_some() {
                return Err(bad(format!("tensor \"{}\" appears twice", t.name)));
            }
            self.order.push(t.name);
        }
        self.shards.push(map);
        Ok(())
    }
}

struct RawTensor {
    name: String,
    dims: Vec<usize>,
    ty: QuantType,
    offset: u64,
    bytes: usize,
}

struct Header {
    values: Vec<(String, Value)>,
    tensors: Vec<RawTensor>,
    data_start: u64,
}

type Parse<T> = std::result::Result<T, String>;

struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn parse(mut self) -> Parse<Header> {
        let magic = self.take(4)?;
        if magic != MAGIC {
            return Err(format!(
                "not a GGUF file (starts with \"{}\", expected \"GGUF\")",
                magic.escape_ascii()
            ));
        }
        let version = self.u32()?;
        if version.swap_bytes() < 16 && version > 0xFFFF {
            return Err("is a big-endian GGUF; convert it to little-endian".into());
        }
        if !(2..=3).contains(&version) {
            return Err(format!("is GGUF version {version}; versions 2 and 3 are supported"));
        }
        let n_tensors = self.u64()?;
        let n_values = self.u64()?;
        // The smallest tensor entry takes 32 bytes, the smallest value 13.
        if n_tensors > self.left() / 32 || n_values > self.left() / 13 {
            return Err(format!(
                "truncated or damaged: the header announces {n_tensors} tensors and {n_values} values in {} bytes",
                self.bytes.len()
            ));
        }
        let mut values = Vec::with_capacity(n_values as usize);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..n_values {
            let key = self.string(MAX_STRING)?;
            let value = self.value(&key)?;
            if !seen.insert(key.clone()) {
                return Err(format!("metadata key \"{key}\" appears twice"));
            }
            values.push((key, value));
        }
        let alignment = match values.iter().find(|(k, _)| k == "general.alignment") {
            None => DEFAULT_ALIGNMENT,
            Some((_, Value::Int(n))) if *n > 0 && *n <= 1 << 20 && (*n as u64).is_power_of_two() => *n as u64,
            Some((_, other)) => {
                return Err(format!("general.alignment is {other:?}; expected a power of two"));
            }
        };
        let mut tensors = Vec::with_capacity(n_tensors as usize);
        for _ in 0..n_tensors {
            tensors.push(self.tensor(alignment)?);
        }
        let data_start = (self.at as u64).next_multiple_of(alignment);
        Ok(Header { values, tensors, data_start })
    }

    fn tensor(&mut self, alignment: u64) -> Parse<RawTensor> {
        let name = self.string(MAX_NAME)?;
        let n_dims = self.u32()?;
        if !(1..=4).contains(&n_dims) {
            return Err(format!("tensor \"{name}\" has {n_dims} dimensions; 1 to 4 are possible"));
        }
        let mut dims = Vec::with_capacity(n_dims as usize);
        let mut elements: i64 = 1;
        for _ in 0..n_dims {
            let d = self.u64()?;
            let product = i64::try_from(d).ok().filter(|d| *d > 0).and_then(|d| elements.checked_mul(d));
            elements = product.ok_or_else(|| format!("tensor \"{name}\" has an impossible extent {d}"))?;
            dims.push(d as usize);
        }
        let id = self.u32()?;
        let ty = QuantType::from_id(id).ok_or_else(|| {
            format!("tensor \"{name}\" has type {id}, which this build of ggml does not know")
        })?;
        let offset = self.u64()?;
        if offset % alignment != 0 {
            return Err(format!("tensor \"{name}\" lies at offset {offset}, not aligned to {alignment}"));
        }
        let bytes = ty
            .row_bytes(dims[0])
            .and_then(|row| row.checked_mul(elements as usize / dims[0]))
            .ok_or_else(|| {
                format!(
                    "tensor \"{name}\" has rows of {} weights; {} needs multiples of {}",
                    dims[0],
                    ty.name(),
                    ty.block_len()
                )
            })?;
        Ok(RawTensor { name, dims, ty, offset, bytes })
    }

    fn value(&mut self, key: &str) -> Parse<Value> {
        let ty = self.u32()?;
        if ty != 9 {
            return self.scalar(ty, key);
        }
        let item = self.u32()?;
        if item == 9 {
            return Err(format!("metadata \"{key}\" is an array of arrays, which is not supported"));
        }
        let n = self.u64()?;
        let smallest = match item {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            _ => 8,
        };
        if n > self.left() / smallest {
            return Err(format!("truncated: metadata \"{key}\" announces {n} items"));
        }
        (0..n).map(|_| self.scalar(item, key)).collect::<Parse<Vec<_>>>().map(Value::Array)
    }

    fn scalar(&mut self, ty: u32, key: &str) -> Parse<Value> {
        Ok(match ty {
            0 => Value::Int(self.take(1)?[0].into()),
            1 => Value::Int((self.take(1)?[0] as i8).into()),
            2 => Value::Int(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Int(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Int(self.u32()?.into()),
            5 => Value::Int(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => Value::Bool(self.take(1)?[0] != 0),
            8 => Value::Str(self.string(MAX_STRING)?),
            10 => Value::Int(self.u64()?.into()),
            11 => Value::Int(i64::from_le_bytes(self.array()?).into()),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            _ => return Err(format!("metadata \"{key}\" has unknown type {ty}")),
        })
    }

    fn string(&mut self, max: u64) -> Parse<String> {
        let at = self.at;
        let len = self.u64()?;
        if len > max {
            return Err(format!("damaged: a string at byte {at} announces {len} bytes"));
        }
        Ok(String::from_utf8_lossy(self.take(len as usize)?).into_owned())
    }

    fn u32(&mut self) -> Parse<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Parse<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn array<const N: usize>(&mut self) -> Parse<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("take returns N bytes"))
    }

    fn take(&mut self, n: usize) -> Parse<&'a [u8]> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.bytes.len());
        let end = end.ok_or_else(|| {
            format!(
                "truncated: the header runs past the end of the file ({} bytes); download it again",
                self.bytes.len()
            )
        })?;
        let out = &self.bytes[self.at..end];
        self.at = end;
        Ok(out)
    }

    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::super::write::GgufWriter;
    use super::*;

    fn sample() -> Vec<u8> {
        let mut w = GgufWriter::new();
        w.str("general.architecture", "llama");
        w.u32("llama.block_count", 2);
        w.f32("llama.rope.freq_base", 1e4);
        w.strings("tokenizer.ggml.tokens", &["a", "b"]);
        w.tensor_f32("x.weight", &[4, 2], &[1., 2., 3., 4., 5., 6., 7., 8.]);
        w.tensor_f32("y.weight", &[3], &[1., 2., 3.]);
        w.to_bytes()
    }

    fn open(bytes: &[u8]) -> Result<Gguf> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.gguf");
        std::fs::write(&path, bytes).unwrap();
        Gguf::open(&path)
    }

    #[test]
    fn what_the_writer_writes_the_reader_reads() {
        let g = open(&sample()).unwrap();
        assert_eq!(g.str("general.architecture"), Some("llama"));
        assert_eq!(g.int("llama.block_count"), Some(2));
        assert_eq!(g.float("llama.rope.freq_base"), Some(1e4));
        assert_eq!(g.read_f32(g.tensor("x.weight").unwrap()), [1., 2., 3., 4., 5., 6., 7., 8.]);
        let mut row = [0.0; 4];
        g.rows(g.tensor("x.weight").unwrap()).read(1, 0, &mut row);
        assert_eq!(row, [5., 6., 7., 8.]);
        assert_eq!(g.tensors().map(|t| t.name.as_str()).collect::<Vec<_>>(), ["x.weight", "y.weight"]);
    }

    #[test]
    fn every_truncation_is_an_error_and_never_a_panic() {
        let whole = sample();
        for len in 0..whole.len() - 32 {
            assert!(open(&whole[..len]).is_err(), "prefix of {len} bytes was accepted");
        }
    }

    #[test]
    fn a_flipped_byte_anywhere_never_panics() {
        let whole = sample();
        for at in 0..whole.len() {
            for bit in [0x01, 0x80, 0xff] {
                let mut bytes = whole.clone();
                bytes[at] ^= bit;
                let _ = open(&bytes);
            }
        }
    }

    #[test]
    fn messages_say_what_was_expected_and_found() {
        let text = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
        assert!(
            text(b"PK\x03\x04 this is a zip file, not a model")
                .contains("starts with \"PK\\x03\\x04\", expected \"GGUF\"")
        );
        assert!(text(b"GG").contains("not a GGUF file (2 bytes"));
        assert!(text(&sample()[..200]).contains("truncated"));
    }
}
