//! Writes GGUF files: adapters, and the random models that tests compare forward passes on.

use std::path::Path;

use super::quant::QuantType;
use crate::{Error, Result};

const ALIGNMENT: usize = 32;

/// Collects metadata and tensors, then writes one GGUF v3 file.
#[derive(Default)]
pub struct GgufWriter {
    n_values: u64,
    values: Vec<u8>,
    tensors: Vec<(String, Vec<usize>, QuantType, Vec<u8>)>,
}

impl GgufWriter {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    fn key(&mut self, key: &str, ty: u32) {
        self.n_values += 1;
        put_str(&mut self.values, key);
        self.values.extend(ty.to_le_bytes());
    }

    /// Adds a string.
    pub fn str(&mut self, key: &str, value: &str) {
        self.key(key, 8);
        put_str(&mut self.values, value);
    }

    /// Adds an unsigned integer.
    pub fn u32(&mut self, key: &str, value: u32) {
        self.key(key, 4);
        self.values.extend(value.to_le_bytes());
    }

    /// Adds an unsigned 16-bit integer.
    pub fn u16(&mut self, key: &str, value: u16) {
        self.key(key, 2);
        self.values.extend(value.to_le_bytes());
    }

    /// Adds a signed integer.
    pub fn i32(&mut self, key: &str, value: i32) {
        self.key(key, 5);
        self.values.extend(value.to_le_bytes());
    }

    /// Adds a float.
    pub fn f32(&mut self, key: &str, value: f32) {
        self.key(key, 6);
        self.values.extend(value.to_le_bytes());
    }

    /// Adds a boolean.
    pub fn bool(&mut self, key: &str, value: bool) {
        self.key(key, 7);
        self.values.push(value.into());
    }

    /// Adds an array of strings.
    pub fn strings(&mut self, key: &str, values: &[impl AsRef<str>]) {
        self.key(key, 9);
        self.values.extend(8u32.to_le_bytes());
        self.values.extend((values.len() as u64).to_le_bytes());
        for v in values {
            put_str(&mut self.values, v.as_ref());
        }
    }

    /// Adds an array of signed integers.
    pub fn i32s(&mut self, key: &str, values: &[i32]) {
        self.key(key, 9);
        self.values.extend(5u32.to_le_bytes());
        self.values.extend((values.len() as u64).to_le_bytes());
        for v in values {
            self.values.extend(v.to_le_bytes());
        }
    }

    /// Adds a tensor of stored bytes.
    ///
    /// # Panics
    /// If `data` is not exactly a tensor of `dims` in type `ty`.
    pub fn tensor(&mut self, name: &str, dims: &[usize], ty: QuantType, data: Vec<u8>) {
        let rows: usize = dims[1..].iter().product();
        assert_eq!(ty.row_bytes(dims[0]).map(|b| b * rows), Some(data.len()), "{name}: size");
        self.tensors.push((name.into(), dims.to_vec(), ty, data));
    }

    /// Adds a tensor of 32-bit floats.
    pub fn tensor_f32(&mut self, name: &str, dims: &[usize], data: &[f32]) {
        let bytes = data.iter().flat_map(|x| x.to_le_bytes()).collect();
        self.tensor(name, dims, QuantType::F32, bytes);
    }

    /// Adds a tensor of 16-bit floats, the nearest ones to `data`.
    pub fn tensor_f16(&mut self, name: &str, dims: &[usize], data: &[f32]) {
        let bytes = data.iter().flat_map(|x| half::f16::from_f32(*x).to_le_bytes()).collect();
        self.tensor(name, dims, QuantType::F16, bytes);
    }

    /// Takes out the tensors from the `n`-th on: what a second part would hold.
    #[cfg(test)]
    pub fn split_off(&mut self, n: usize) -> GgufWriter {
        GgufWriter { tensors: self.tensors.split_off(n), ..GgufWriter::default() }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(b"GGUF");
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend(self.n_values.to_le_bytes());
        out.extend(&self.values);
        let mut offset = 0usize;
        for (name, dims, ty, data) in &self.tensors {
            put_str(&mut out, name);
            out.extend((dims.len() as u32).to_le_bytes());
            for d in dims {
                out.extend((*d as u64).to_le_bytes());
            }
            out.extend(ty.id().to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset += data.len().next_multiple_of(ALIGNMENT);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        for (_, _, _, data) in &self.tensors {
            out.extend(data);
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        }
        out
    }

    /// Writes the file beside `path`, syncs it and renames it into place: a reader sees the old
    /// file or the whole new one.
    pub fn write(&self, path: &Path) -> Result<()> {
        crate::fs::write_atomically(path, |file| file.write_all(&self.to_bytes()))
            .map_err(Error::io("write", path))
    }
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}
