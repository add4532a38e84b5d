//! Several sources as one, so that the engine computes their requests together.

use super::{Completion, Request, Source};
use crate::{Error, Result};

/// The requests of some sources. Those of a source come before those of the sources behind it, which fill the
/// room that it leaves.
pub(crate) struct Sources<'a>(Vec<&'a mut (dyn Source + 'a)>);

impl<'a> Sources<'a> {
    pub fn new(sources: Vec<&'a mut (dyn Source + 'a)>) -> Sources<'a> {
        Sources(sources)
    }

    /// The source of request `id`, by its place, and the id that it gave.
    fn origin(&self, id: u64) -> (usize, u64) {
        let n = self.0.len() as u64;
        ((id % n) as usize, id / n)
    }
}

impl Source for Sources<'_> {
    fn next(&mut self) -> Option<Request> {
        let n = self.0.len() as u64;
        let (place, request) =
            self.0.iter_mut().enumerate().find_map(|(place, source)| Some((place, source.next()?)))?;
        Some(Request { id: request.id * n + place as u64, ..request })
    }

    fn finished(&mut self, completion: Completion) -> Result<()> {
        let (place, id) = self.origin(completion.id);
        self.0[place].finished(Completion { id, ..completion })
    }

    fn enough(&self, id: u64, text: &str) -> bool {
        let (place, id) = self.origin(id);
        self.0[place].enough(id, text)
    }

    fn wanted(&self, id: u64) -> bool {
        let (place, id) = self.origin(id);
        self.0[place].wanted(id)
    }

    fn continues(&self, id: u64) -> bool {
        let (place, id) = self.origin(id);
        self.0[place].continues(id)
    }

    fn too_long(&mut self, id: u64, tokens: usize, limit: usize) -> Result<()> {
        let (place, id) = self.origin(id);
        self.0[place].too_long(id, tokens, limit)
    }

    fn cannot_render(&mut self, id: u64, error: Error) -> Result<()> {
        let (place, id) = self.origin(id);
        self.0[place].cannot_render(id, error)
    }
}
