//! Ctrl-C: the first asks the work to stop and keep what it has, the second does not ask.

use secondnature::Cancel;

use super::output;

/// A token that Ctrl-C (or a request to terminate) cancels.
pub fn cancel_on_interrupt() -> Cancel {
    let cancel = Cancel::new();
    let shared = cancel.clone();
    let handler = move || {
        if shared.is_cancelled() {
            // SAFETY: `_exit` has no preconditions. `exit` would run the destructors of C++ statics
            // under threads that are still computing with them.
            unsafe { libc::_exit(130) }
        }
        shared.cancel();
    };
    if let Err(error) = ctrlc::set_handler(handler) {
        output::eprint_line(&format!("secondnature: Ctrl-C will lose unsaved work ({error})"));
    }
    cancel
}
