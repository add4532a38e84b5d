//! The names of tasks, steps and perturbations.

/// Checks that `name`, of a `what`, starts with a letter or `_` and holds only letters, digits and the
/// characters of `marks`. The error is one line.
pub(super) fn check_name(what: &str, name: &str, marks: &str) -> Result<(), String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || marks.contains(c);
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && name.chars().all(fits) {
        return Ok(());
    }
    let marks: Vec<String> = marks.chars().map(String::from).collect();
    Err(format!(
        "{what} name {name:?} must start with a letter and hold only letters, digits and {}",
        marks.join(" ")
    ))
}
