//! Buffers that grow into memory with huge pages.

/// `v` with `len` values, whose contents are unspecified; grows as [`grow`] does, and never returns
/// memory.
pub fn resize<T: Copy + Default>(v: &mut Vec<T>, len: usize) -> &mut [T] {
    grow(v, len);
    v.truncate(len);
    v
}

/// Lengthens `v` to at least `len` values, the new ones being zero. A large vector that has to move
/// asks the system for huge pages: a matrix product reads rows that are kilobytes apart, and with
/// small pages it often waits for an address translation.
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
