//! Writes GGUF files: adapters, copies of models in another type, and the random models that tests
//! compare forward passes on.

use std::io;
use std::path::Path;

use super::quant::QuantType;
use crate::{Error, Result};

const ALIGNMENT: usize = 32;

/// Collects metadata and tensors, then writes one GGUF v3 file.
#[derive(Default)]
pub struct GgufWriter<'a> {
    n_values: u64,
    values: Vec<u8>,
    tensors: Vec<Tensor<'a>>,
}

struct Tensor<'a> {
    name: String,
    dims: Vec<usize>,
    ty: QuantType,
    bytes: usize,
    data: Data<'a>,
}

enum Data<'a> {
    Held(Vec<u8>),
    /// Made while the file is written, so that a model need not be in memory.
    Made(Box<Make<'a>>),
}

type Make<'a> = dyn Fn(&mut dyn io::Write) -> io::Result<()> + 'a;

impl<'a> GgufWriter<'a> {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    fn key(&mut self, key: &str, ty: u32) {
        self.n_values += 1;
        put_str(&mut self.values, key);
        self.values.extend(ty.to_le_bytes());
    }

    /// Adds an entry as another file holds it ([`super::Gguf::raw_values`]).
    pub fn raw_value(&mut self, entry: &[u8]) {
        self.n_values += 1;
        self.values.extend(entry);
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
        let bytes = stored_bytes(dims, ty);
        assert_eq!(bytes, Some(data.len()), "{name}: size");
        self.add(name, dims, ty, data.len(), Data::Held(data));
    }

    /// Adds a tensor whose stored bytes `make` writes, when the file is written.
    ///
    /// # Panics
    /// If rows of `dims[0]` are not whole blocks of type `ty`.
    pub fn tensor_made(
        &mut self,
        name: &str,
        dims: &[usize],
        ty: QuantType,
        make: impl Fn(&mut dyn io::Write) -> io::Result<()> + 'a,
    ) {
        let bytes = stored_bytes(dims, ty).expect("rows are whole blocks");
        self.add(name, dims, ty, bytes, Data::Made(Box::new(make)));
    }

    fn add(&mut self, name: &str, dims: &[usize], ty: QuantType, bytes: usize, data: Data<'a>) {
        self.tensors.push(Tensor { name: name.into(), dims: dims.to_vec(), ty, bytes, data });
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
    pub fn split_off(&mut self, n: usize) -> GgufWriter<'a> {
        GgufWriter { tensors: self.tensors.split_off(n), ..GgufWriter::default() }
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_to(&mut out).expect("memory takes every byte");
        out
    }

    /// The file's length in bytes.
    pub fn file_bytes(&self) -> u64 {
        let data: usize = self.tensors.iter().map(|t| t.bytes.next_multiple_of(ALIGNMENT)).sum();
        (self.header().len() + data) as u64
    }

    /// Writes the file's bytes to `out`, tensor after tensor.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        out.write_all(&self.header())?;
        for tensor in &self.tensors {
            match &tensor.data {
                Data::Held(data) => out.write_all(data)?,
                Data::Made(make) => {
                    let mut counted = Counted { out, left: tensor.bytes };
                    make(&mut counted)?;
                    assert_eq!(counted.left, 0, "{}: bytes missing", tensor.name);
                }
            }
            let padding = tensor.bytes.next_multiple_of(ALIGNMENT) - tensor.bytes;
            out.write_all(&[0; ALIGNMENT][..padding])?;
        }
        Ok(())
    }

    /// Everything before the tensors' data.
    pub fn header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(b"GGUF");
        out.extend(3u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend(self.n_values.to_le_bytes());
        out.extend(&self.values);
        let mut offset = 0usize;
        for Tensor { name, dims, ty, bytes, .. } in &self.tensors {
            put_str(&mut out, name);
            out.extend((dims.len() as u32).to_le_bytes());
            for d in dims {
                out.extend((*d as u64).to_le_bytes());
            }
            out.extend(ty.id().to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset += bytes.next_multiple_of(ALIGNMENT);
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out
    }

    /// Writes the file beside `path`, syncs it and renames it into place: a reader sees the old
    /// file or the whole new one.
    pub fn write(&self, path: &Path) -> Result<()> {
        crate::run::write_atomically(path, |file| self.write_to(file)).map_err(Error::io("write", path))
    }
}

/// Takes exactly the bytes of one tensor.
struct Counted<'a> {
    out: &'a mut dyn io::Write,
    left: usize,
}

impl io::Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.left = self.left.checked_sub(n).expect("no more bytes than the tensor has");
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn stored_bytes(dims: &[usize], ty: QuantType) -> Option<usize> {
    let rows: usize = dims[1..].iter().product();
    ty.row_bytes(dims[0]).and_then(|row| row.checked_mul(rows))
}

fn put_str(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}
