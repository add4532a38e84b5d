//! Reference counts of the decoder's KV cells. Sequences that share a prefix share its cells, so the
//! number of free cells does not follow from the lengths, and decoders do not report it.

/// A cell of the KV cache.
pub(super) type Cell = u32;

/// Reference counts of all cells.
pub(super) struct Cells {
    counts: Vec<u32>,
    free: Vec<Cell>,
}

impl Cells {
    pub fn new(total: usize) -> Cells {
        Cells { counts: vec![0; total], free: (0..total as Cell).collect() }
    }

    /// Cells that no sequence uses.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// A cell for a new token; `None` when all are in use.
    pub fn take(&mut self) -> Option<Cell> {
        let cell = self.free.pop()?;
        self.counts[cell as usize] = 1;
        Some(cell)
    }

    /// Another sequence uses `cells` too.
    pub fn share(&mut self, cells: &[Cell]) {
        for &cell in cells {
            self.counts[cell as usize] += 1;
        }
    }

    /// A sequence releases `cells`.
    pub fn release(&mut self, cells: impl IntoIterator<Item = Cell>) {
        for cell in cells {
            let count = &mut self.counts[cell as usize];
            *count -= 1;
            if *count == 0 {
                self.free.push(cell);
            }
        }
    }

    /// How many of `cells` no other sequence uses.
    pub fn unshared(&self, cells: &[Cell]) -> usize {
        cells.iter().filter(|&&cell| self.counts[cell as usize] == 1).count()
    }
}
