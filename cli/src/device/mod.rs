//! What the system says of the machine: `/sys` and `/proc`, read below a root that tests put the files of others in.

pub mod board;
pub mod caches;
pub mod clusters;
pub mod heat;
pub mod known;
#[cfg(feature = "device")]
pub mod limits;
pub mod power;

use std::path::PathBuf;
use std::str::FromStr;

/// The option that commands which look at the machine share.
#[derive(clap::Args)]
pub struct RootArgs {
    /// Read /sys and /proc below this folder: a recorded machine instead of this one
    #[arg(long, value_name = "DIR", default_value = "/")]
    pub sysfs_root: PathBuf,
}

impl RootArgs {
    pub fn root(&self) -> Root {
        Root(self.sysfs_root.clone())
    }
}

/// The folder that `sys` and `proc` lie in.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    #[cfg(test)]
    pub fn at(path: &std::path::Path) -> Self {
        Self(path.to_owned())
    }

    /// Whether it is the running machine's.
    #[cfg(feature = "device")]
    pub fn is_here(&self) -> bool {
        self.0.as_os_str() == "/"
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// A file's text without the blanks and the zero byte at its end; `None` when it cannot be read or is empty.
    pub fn text(&self, name: &str) -> Option<String> {
        let text = std::fs::read(self.path(name)).ok()?;
        let text = String::from_utf8_lossy(&text);
        let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub fn number<T: FromStr>(&self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    /// The names in a folder, ascending, numbers by their value; none when there is no such folder.
    pub fn list(&self, name: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path(name)) else { return Vec::new() };
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_by_key(|name| {
            (name.trim_end_matches(|c: char| c.is_ascii_digit()).to_owned(), digits(name))
        });
        names
    }
}

/// The number at a name's end.
fn digits(name: &str) -> u64 {
    let stem = name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    name[stem..].parse().unwrap_or(0)
}

/// Numbers as Linux lists cores: `0-3,6`.
pub fn ranges(ids: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for &id in ids {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == id => *last = id,
            _ => parts.push((id, id)),
        }
    }
    let text = |&(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
#[path = "../../tests/devices/tree.rs"]
mod tree;

#[cfg(test)]
pub mod kept {
    pub use super::tree::put;
    use super::{Root, tree};

    /// A machine kept as files, and its folder, which lives as long.
    pub fn machine(name: &str) -> (tempfile::TempDir, Root) {
        let folder = tree::unpack(name);
        let root = Root::at(folder.path());
        (folder, root)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_listed_as_linux_does() {
        assert_eq!(ranges(&[0, 1, 2, 3, 6]), "0-3,6");
        assert_eq!(ranges(&[]), "");
    }

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["cpu10", "cpu2", "online"] {
            std::fs::write(folder.path().join(name), "1\0\n").unwrap();
        }
        let root = Root::at(folder.path());
        assert_eq!(root.list(""), ["cpu2", "cpu10", "online"]);
        assert_eq!(root.number::<u32>("cpu2"), Some(1));
        assert_eq!(root.text("absent"), None);
    }
}
