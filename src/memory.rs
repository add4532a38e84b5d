//! Memory of this process and of the machine or container it runs in.

use std::path::Path;

/// Bytes that this process can still allocate without swapping or being killed for it: what the
/// machine has available, or less where a control group (a container, a systemd service) limits it.
/// `None` where the system does not tell.
pub fn available_memory() -> Option<u64> {
    let read = |path: &Path| std::fs::read_to_string(path).ok();
    let machine = read(Path::new("/proc/meminfo")).and_then(|text| meminfo_available(&text));
    let groups = read(Path::new("/proc/self/cgroup")).and_then(|groups| cgroup_available(&groups, read));
    machine.into_iter().chain(groups).min()
}

/// Peak resident memory of this process in MB (10⁶ bytes); 0 where the system does not tell.
pub fn peak_rss_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    kib_field(&status, "VmHWM:").map_or(0.0, |bytes| bytes as f64 / 1e6)
}

fn meminfo_available(meminfo: &str) -> Option<u64> {
    kib_field(meminfo, "MemAvailable:")
}

/// The field of a `/proc` file that begins with `name` and is given in kB, in bytes.
fn kib_field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim_end().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// The files of one version of control groups.
struct CgroupFiles {
    /// Where the hierarchy is mounted.
    root: &'static str,
    limit: &'static str,
    usage: &'static str,
    /// The lines of `memory.stat` that make up the page cache, which the kernel reclaims before it
    /// kills; `MemAvailable` counts it as available, too.
    cache: [&'static str; 2],
}

const V1: CgroupFiles = CgroupFiles {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cache: ["total_inactive_file ", "total_active_file "],
};

const V2: CgroupFiles = CgroupFiles {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    usage: "memory.current",
    cache: ["inactive_file ", "active_file "],
};

/// The smallest rest of a memory limit along the path of every group that this process is in.
/// `groups` is the text of `/proc/self/cgroup`, `read` returns the contents of a file that exists.
///
/// A container may see a path that exists only outside of it; the groups that do exist count, and
/// the mounted root always does.
fn cgroup_available(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let mut smallest: Option<u64> = None;
    for line in groups.lines() {
        // `0::/path` is version 2, `7:memory:/path` version 1.
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(controllers), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let files = match (id, controllers) {
            ("0", "") => V2,
            _ if controllers.split(',').any(|name| name == "memory") => V1,
            _ => continue,
        };
        for group in Path::new(path.trim_start_matches('/')).ancestors() {
            let rest = files.rest(&Path::new(files.root).join(group), &read);
            smallest = smallest.into_iter().chain(rest).min();
        }
    }
    smallest
}

impl CgroupFiles {
    /// What is left of the limit of the group at `dir`; `None` where it has none.
    fn rest(&self, dir: &Path, read: &impl Fn(&Path) -> Option<String>) -> Option<u64> {
        let number = |name: &str| read(&dir.join(name))?.trim().parse::<u64>().ok();
        // Version 2 writes `max` for no limit, version 1 a number near 2⁶³.
        let limit = number(self.limit)?;
        let usage = number(self.usage).unwrap_or(0);
        let stat = read(&dir.join("memory.stat")).unwrap_or_default();
        let field =
            |name: &str| stat.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        let cache: u64 = self.cache.into_iter().filter_map(field).sum();
        Some(limit.saturating_sub(usage.saturating_sub(cache)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        cgroup_available(groups, |path| {
            let (_, text) = files.iter().find(|(name, _)| Path::new(name) == path)?;
            Some(text.to_string())
        })
    }

    #[test]
    fn the_smallest_rest_along_the_path_of_a_version_2_group_counts() {
        let files = [
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/b/memory.current", "500\n"),
            ("/sys/fs/cgroup/a/memory.max", "4000\n"),
            ("/sys/fs/cgroup/a/memory.current", "1500\n"),
            ("/sys/fs/cgroup/a/memory.stat", "anon 700\ninactive_file 300\nactive_file 200\nfile 500\n"),
        ];
        assert_eq!(available("0::/a/b\n", &files), Some(3000));
        assert_eq!(available("0::/\n", &files), None);
    }

    #[test]
    fn a_container_whose_path_exists_only_outside_is_bound_by_its_mounted_root() {
        let files = [
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n"),
            ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "400000\n"),
        ];
        let groups = "12:cpu,cpuacct:/docker/x\n7:memory:/docker/x\n0::/docker/x\n";
        assert_eq!(available(groups, &files), Some(600_000));
        assert_eq!(available("12:cpu,cpuacct:/docker/x\n", &files), None);
    }

    #[test]
    fn a_group_that_uses_more_than_its_limit_leaves_nothing_and_damaged_text_is_no_limit() {
        let over = [("/sys/fs/cgroup/memory.max", "100"), ("/sys/fs/cgroup/memory.current", "150")];
        assert_eq!(available("0::/", &over), Some(0));
        assert_eq!(available("0::/", &[("/sys/fs/cgroup/memory.max", "12x")]), None);
        assert_eq!(available("", &over), None);
        assert_eq!(available("nonsense\n::\n", &over), None);
    }

    #[test]
    fn proc_files_are_read_in_bytes() {
        assert_eq!(meminfo_available("MemTotal: 9 kB\nMemAvailable:   7 kB\n"), Some(7 * 1024));
        assert_eq!(meminfo_available("MemTotal: 9 kB\n"), None);
    }
}
