//! What keeps this process from using the whole machine: its affinity mask and its control group.

use super::Root;

/// Limits of this process.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Cores it may run on; empty when the system does not say.
    pub cores: Vec<usize>,
    /// Processor time that its control groups allow, in cores; `None` when there is no quota.
    pub quota: Option<f64>,
}

pub fn read(root: &Root) -> Limits {
    let status = root.text("proc/self/status").unwrap_or_default();
    let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let cores = allowed.map_or_else(Vec::new, |list| cygnet::topology::parse_list(list.trim()));
    let groups = root.text("proc/self/cgroup").unwrap_or_default();
    Limits { cores, quota: groups.lines().filter_map(|line| quota(root, line)).reduce(f64::min) }
}

/// The least quota of a group and those around it. `line` is `ID:CONTROLLERS:PATH`.
fn quota(root: &Root, line: &str) -> Option<f64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let base = match controllers {
        "" => "sys/fs/cgroup".to_owned(),
        names if names.split(',').any(|name| name == "cpu") => format!("sys/fs/cgroup/{names}"),
        _ => return None,
    };
    let mut path = path.trim_matches('/');
    let mut least = None;
    loop {
        let folder = if path.is_empty() { base.clone() } else { format!("{base}/{path}") };
        let here = if controllers.is_empty() { unified(root, &folder) } else { separate(root, &folder) };
        least = here.into_iter().chain(least).reduce(f64::min);
        if path.is_empty() {
            return least;
        }
        path = path.rsplit_once('/').map_or("", |(outer, _)| outer);
    }
}

/// Version 2: `QUOTA PERIOD`, or `max PERIOD`.
fn unified(root: &Root, folder: &str) -> Option<f64> {
    let text = root.text(&format!("{folder}/cpu.max"))?;
    let (quota, period) = text.split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok().filter(|p| *p > 0.0)?)
}

/// Version 1: two files, the quota -1 for none.
fn separate(root: &Root, folder: &str) -> Option<f64> {
    let quota: f64 = root.number(&format!("{folder}/cpu.cfs_quota_us"))?;
    let period: f64 = root.number(&format!("{folder}/cpu.cfs_period_us"))?;
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let root = Root::at(folder.path());
        (folder, root)
    }

    #[test]
    fn the_least_quota_of_all_groups_around() {
        let (_folder, root) = tree(&[
            ("proc/self/status", "Name:\tx\nCpus_allowed_list:\t1-2\n"),
            ("proc/self/cgroup", "0::/system.slice/app.service\n"),
            ("sys/fs/cgroup/system.slice/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/system.slice/app.service/cpu.max", "max 100000\n"),
        ]);
        assert_eq!(read(&root), Limits { cores: vec![1, 2], quota: Some(1.5) });
    }

    #[test]
    fn groups_of_the_first_version() {
        let (_folder, root) = tree(&[
            ("proc/self/cgroup", "4:memory:/a\n2:cpu,cpuacct:/a\n"),
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
        ]);
        assert_eq!(read(&root), Limits { cores: vec![], quota: Some(0.5) });
    }
}
