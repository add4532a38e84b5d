//! Trains a LoRA adapter on short answers, exactly and on the quantized weights themselves.
pub mod adamw;
pub mod batch;
pub mod lora;
pub mod model;
pub mod ops;
pub mod spec;

#[cfg(test)]
mod model_tests;
