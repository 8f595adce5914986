//! Folders below `.dev` that belong to one process and go with it, together with
//! everything that was started in them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::{
    checkout,
    process::{Identity, Process},
    random,
    servers::postgres,
};

/// How the names of such folders begin.
const PREFIX: &str = "private-";
/// File in such a folder that tells which process made it.
const OWNER: &str = "owner.json";
/// Folders that only hold a server's data.
const DATA: [&str; 3] = ["area", "data", "log"];

/// A folder of its own, [wiped](wipe) when dropped.
#[derive(Debug)]
pub struct PrivateFolder {
    path: PathBuf,
}

impl PrivateFolder {
    /// Makes a folder, and wipes those of processes that were killed.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn make(label: &str) -> Result<Self> {
        let dev = checkout::dev_folder()?;
        for entry in fs::read_dir(&dev)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            if name.is_some_and(|name| name.starts_with(PREFIX)) && is_left(&path) {
                eprintln!("clearing away what a killed run left in {}", path.display());
                // Somebody else may be at it too.
                if let Err(error) = wipe(&path) {
                    eprintln!("{error:#}");
                }
            }
        }
        let pid = i32::try_from(std::process::id())?;
        let owner = Identity::of(pid, "").context("this process is not in /proc")?;
        // Others see it only once it says whose it is.
        let draft = dev.join(format!("draft-{}", random::hex(4)));
        checkout::make_folder(&draft)?;
        owner.write(&draft.join(OWNER))?;
        let path = dev.join(format!("{PREFIX}{label}-{}", random::hex(4)));
        fs::rename(&draft, &path)?;
        Ok(Self { path })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateFolder {
    fn drop(&mut self) {
        if let Err(error) = wipe(&self.path) {
            eprintln!("{error:#}");
        }
    }
}

/// Whether the process that made the folder is gone. A folder that does not say
/// who made it is just being wiped by somebody, or was about to be.
fn is_left(folder: &Path) -> bool {
    !Identity::read(&folder.join(OWNER)).is_some_and(|owner| owner.is_alive())
}

/// Kills the servers and services that run in a folder, whoever started them, and
/// removes it with their data.
///
/// # Errors
/// When something cannot be removed.
pub fn wipe(folder: &Path) -> Result<()> {
    for path in files(folder) {
        let is_json = path
            .extension()
            .is_some_and(|extension| extension == "json");
        if is_json && path.file_name().is_some_and(|name| name != OWNER) {
            // Killed as it is dropped.
            drop(Process::find("a left process", &path, &path));
            postgres::wipe_far_data(&path)?;
        }
    }
    checkout::remove_folder(folder)
}

/// The files in a folder and below, those of the servers' data left out.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
    {
        let is_data = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| DATA.contains(&name));
        if path.is_dir() && !path.is_symlink() {
            if !is_data {
                found.extend(files(&path));
            }
        } else {
            found.push(path);
        }
    }
    found
}
