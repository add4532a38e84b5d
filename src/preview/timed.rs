//! An engine that notes what each call takes.

use std::collections::BTreeMap;
use std::path::Path;

use crate::engine::{Completion, Decoder, Engine, Finish, Request, Source};
use crate::{Cancel, Error, Result};

/// How long a call took, and why it ended.
pub struct TimedCall {
    pub seconds: f64,
    pub finish: Finish,
    pub generated_tokens: usize,
}

/// An engine that notes how long each call takes, by its seed, which no other call has.
pub struct Timed<'a> {
    pub engine: &'a mut dyn Engine,
    pub calls: BTreeMap<u64, TimedCall>,
    /// Number of calls that were begun and not finished.
    pub unfinished: usize,
}

impl Engine for Timed<'_> {
    fn run(&mut self, source: &mut dyn Source, cancel: &Cancel) -> Result<()> {
        let mut timed = TimedSource { source, seeds: BTreeMap::new(), calls: &mut self.calls };
        let ran = self.engine.run(&mut timed, cancel);
        self.unfinished += timed.seeds.len();
        ran
    }
    fn set_adapter(&mut self, path: Option<&Path>) -> Result<()> {
        self.engine.set_adapter(path)
    }
    fn sampling_threads(&self) -> usize {
        self.engine.sampling_threads()
    }
    fn takes_adapters(&self) -> bool {
        self.engine.takes_adapters()
    }
    fn decoder(&self) -> Option<&dyn Decoder> {
        self.engine.decoder()
    }
}

struct TimedSource<'a> {
    source: &'a mut dyn Source,
    /// Request id → seed.
    seeds: BTreeMap<u64, u64>,
    calls: &'a mut BTreeMap<u64, TimedCall>,
}

impl Source for TimedSource<'_> {
    fn next(&mut self) -> Option<Request> {
        let request = self.source.next()?;
        self.seeds.insert(request.id, request.seed);
        Some(request)
    }
    fn finished(&mut self, completion: Completion) -> Result<()> {
        if let Some(seed) = self.seeds.remove(&completion.id) {
            let call = TimedCall {
                seconds: completion.seconds,
                finish: completion.finish,
                generated_tokens: completion.generated_tokens,
            };
            self.calls.insert(seed, call);
        }
        self.source.finished(completion)
    }
    fn enough(&self, id: u64, text: &str) -> bool {
        self.source.enough(id, text)
    }
    fn wanted(&self, id: u64) -> bool {
        self.source.wanted(id)
    }
    fn continues(&self, id: u64) -> bool {
        self.source.continues(id)
    }
    fn too_long(&mut self, id: u64, tokens: usize, limit: usize) -> Result<()> {
        self.source.too_long(id, tokens, limit)
    }
    fn cannot_render(&mut self, id: u64, error: Error) -> Result<()> {
        self.source.cannot_render(id, error)
    }
}
