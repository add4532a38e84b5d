//! Changes the metadata of a GGUF file (version 3) and leaves its tensors as they are.

/// The file `bytes` with each key of `changes` set to a string, or left out for `None`.
pub fn edit(bytes: &[u8], changes: &[(&str, Option<&str>)]) -> Vec<u8> {
    let mut reader = Reader { bytes, at: 8 };
    let (n_tensors, n_keys) = (reader.u64(), reader.u64());
    let mut keys: Vec<(&[u8], Vec<u8>)> = Vec::new();
    for _ in 0..n_keys {
        let key = reader.string();
        let begin = reader.at;
        let kind = reader.u32();
        reader.skip(kind);
        keys.push((key, bytes[begin..reader.at].to_vec()));
    }
    let tensors = reader.at;
    for _ in 0..n_tensors {
        reader.string();
        let dims = reader.u32() as usize;
        reader.at += 8 * dims + 4 + 8;
    }
    let (tensors, data) = (&bytes[tensors..reader.at], &bytes[reader.at.next_multiple_of(32)..]);
    for (key, value) in changes {
        keys.retain(|(name, _)| *name != key.as_bytes());
        if let Some(text) = value {
            let mut value = 8u32.to_le_bytes().to_vec();
            put_string(&mut value, text.as_bytes());
            keys.push((key.as_bytes(), value));
        }
    }
    let mut out = bytes[..8].to_vec();
    out.extend(n_tensors.to_le_bytes());
    out.extend((keys.len() as u64).to_le_bytes());
    for (key, value) in keys {
        put_string(&mut out, key);
        out.extend(value);
    }
    out.extend(tensors);
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

fn put_string(out: &mut Vec<u8>, text: &[u8]) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text);
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn u32(&mut self) -> u32 {
        self.at += 4;
        u32::from_le_bytes(self.bytes[self.at - 4..self.at].try_into().unwrap())
    }

    fn u64(&mut self) -> u64 {
        self.at += 8;
        u64::from_le_bytes(self.bytes[self.at - 8..self.at].try_into().unwrap())
    }

    fn string(&mut self) -> &'a [u8] {
        let len = self.u64() as usize;
        self.at += len;
        &self.bytes[self.at - len..self.at]
    }

    /// Skips a value of type `kind`.
    fn skip(&mut self, kind: u32) {
        match kind {
            0 | 1 | 7 => self.at += 1,
            2 | 3 => self.at += 2,
            4..=6 => self.at += 4,
            10..=12 => self.at += 8,
            8 => drop(self.string()),
            9 => {
                let (kind, n) = (self.u32(), self.u64());
                (0..n).for_each(|_| self.skip(kind));
            }
            _ => panic!("a value of type {kind}"),
        }
    }
}
