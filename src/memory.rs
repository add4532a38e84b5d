//! What this machine has, and what it is asked for.

/// Memory that can be given out without swapping, in bytes; `None` where the system does not tell.
pub fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
}

/// `v` with `len` values, whose contents are unspecified; grows as [`grow`] does, never shrinks its
/// memory.
pub fn fit<T: Copy + Default>(v: &mut Vec<T>, len: usize) -> &mut [T] {
    grow(v, len);
    v.truncate(len);
    v
}

/// Lengthens `v` to at least `len` values, those new being zero; where it moves and is large, to
/// memory in huge pages if the system gives them. A product walks down rows that lie kilobytes
/// apart, so with small pages it often waits for an address to be translated.
pub fn grow<T: Copy + Default>(v: &mut Vec<T>, len: usize) {
    if v.len() >= len {
        return;
    }
    if v.capacity() < len {
        v.reserve_exact(len - v.len());
        prefer_huge_pages(v.spare_capacity_mut());
    }
    v.resize(len, T::default());
}

#[cfg(target_os = "linux")]
fn prefer_huge_pages<T>(memory: &mut [T]) {
    const PAGE: usize = 4096;
    const LARGE: usize = 4 << 20;
    let range = memory.as_mut_ptr_range();
    let (from, to) = ((range.start as usize).next_multiple_of(PAGE), range.end as usize / PAGE * PAGE);
    if to.saturating_sub(from) >= LARGE {
        // SAFETY: whole pages of memory that is borrowed here; the advice changes no contents.
        unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_HUGEPAGE) };
    }
}

#[cfg(not(target_os = "linux"))]
fn prefer_huge_pages<T>(_: &mut [T]) {}
