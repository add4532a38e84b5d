//! The macro that every call without a status passes through.

/// The body of a call that cannot fail: `catch!(or value => body)`, where `value` is what the caller
/// gets if the body panics.
macro_rules! catch {
    (or $otherwise:expr => $body:expr) => {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| $body)).unwrap_or($otherwise)
    };
}
pub(super) use catch;

#[cfg(test)]
mod tests {
    #[test]
    fn a_panic_becomes_the_other_value() {
        assert_eq!(catch!(or 7 => panic!("on purpose")), 7);
    }
}
