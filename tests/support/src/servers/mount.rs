//! A Secret or ConfigMap as a volume, the way a kubelet makes it.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use crate::program::Scratch;

/// A folder in which `..data` leads to a folder with the keys' files, every key is a link into it, and an update is one
/// rename of `..data`: all keys change at once, and a file never changes in place.
#[derive(Debug)]
pub struct Mount {
    scratch: Scratch,
    updates: usize,
}

impl Mount {
    /// Mounts this data: what each key holds.
    pub fn new(data: &BTreeMap<String, Vec<u8>>) -> Result<Self> {
        let scratch = Scratch::new("mount-")?;
        open_to_all(scratch.path(), 0o755)?;
        let mut mount = Self { scratch, updates: 0 };
        mount.update(data)?;
        Ok(mount)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.scratch.path()
    }

    /// A key's file.
    pub fn file(&self, key: &str) -> PathBuf {
        self.path().join(key)
    }

    /// Puts this data in the place of what is mounted, as a kubelet does: nothing, where it is the same.
    pub fn update(&mut self, data: &BTreeMap<String, Vec<u8>>) -> Result<()> {
        if self.updates > 0 && self.data()? == *data {
            return Ok(());
        }
        self.updates += 1;
        let old = fs::read_link(self.file("..data")).ok();
        let name = format!("..{}.{:010}", jiff::Timestamp::now().strftime("%Y_%m_%d_%H_%M_%S"), self.updates);
        let folder = self.path().join(&name);
        fs::create_dir(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        open_to_all(&folder, 0o755)?;
        for (key, value) in data {
            ensure!(!key.contains('/') && !key.starts_with(".."), "no volume can have a file {key}");
            fs::write(folder.join(key), value)?;
            open_to_all(&folder.join(key), 0o644)?;
        }
        symlink(&name, self.path().join("..data_tmp"))?;
        fs::rename(self.path().join("..data_tmp"), self.path().join("..data"))?;
        for key in data.keys().filter(|key| self.file(key).symlink_metadata().is_err()) {
            symlink(Path::new("..data").join(key), self.file(key))?;
        }
        for entry in fs::read_dir(self.path())? {
            let key = entry?.file_name().into_string().unwrap_or_default();
            if !key.starts_with("..") && !data.contains_key(&key) {
                fs::remove_file(self.file(&key))?;
            }
        }
        if let Some(old) = old {
            fs::remove_dir_all(self.path().join(old))?;
        }
        Ok(())
    }

    /// What is mounted now.
    pub fn data(&self) -> Result<BTreeMap<String, Vec<u8>>> {
        let mut data = BTreeMap::new();
        for entry in fs::read_dir(self.path().join("..data"))? {
            let entry = entry?;
            data.insert(entry.file_name().into_string().unwrap_or_default(), fs::read(entry.path())?);
        }
        Ok(data)
    }
}

/// A server may run as another user, and the umask may be restrictive.
pub(crate) fn open_to_all(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot open {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(values: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
        values.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn an_update_changes_every_key_by_one_link() {
        let mut mount = Mount::new(&data(&[("a", "1"), ("b", "1")])).unwrap();
        let (first, file) = (fs::read_link(mount.file("..data")).unwrap(), fs::canonicalize(mount.file("a")).unwrap());
        assert_eq!(fs::read_link(mount.file("a")).unwrap(), Path::new("..data/a"));
        mount.update(&data(&[("a", "1"), ("b", "1")])).unwrap();
        assert_eq!(fs::read_link(mount.file("..data")).unwrap(), first, "nothing has changed");
        mount.update(&data(&[("b", "2"), ("c", "2")])).unwrap();
        assert_ne!(fs::read_link(mount.file("..data")).unwrap(), first);
        assert_eq!(fs::read_to_string(mount.file("b")).unwrap(), "2");
        assert_eq!(fs::read_to_string(mount.file("c")).unwrap(), "2");
        assert!(mount.file("a").symlink_metadata().is_err() && !file.exists());
    }
}
