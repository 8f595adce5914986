//! Where PostgreSQL is installed.

use std::{ffi::OsStr, fs, path::PathBuf, process::Command};

use anyhow::{Context as _, Result};

/// Oldest version that is used, as in `scripts/install-servers.sh`.
const OLDEST: u32 = 13;

/// The folder of the newest PostgreSQL's programs.
pub(super) fn find() -> Result<PathBuf> {
    let debian = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let fedora = fs::read_dir("/usr")
        .into_iter()
        .flatten()
        .filter_map(|entry| {
            let entry = entry.ok()?;
            entry
                .file_name()
                .to_str()?
                .starts_with("pgsql-")
                .then(|| entry.path().join("bin"))
        });
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    // Of several with the same version, the last one is taken.
    on_path
        .into_iter()
        .chain(fedora)
        .chain(debian)
        .filter(|folder| folder.join("initdb").is_file())
        .filter_map(|folder| Some((version(folder.join("postgres"))?, folder)))
        .filter(|(version, _)| *version >= OLDEST)
        .max_by_key(|(version, _)| *version)
        .map(|(_, folder)| folder)
        .with_context(|| {
            format!(
                "PostgreSQL {OLDEST} or newer is not installed: run scripts/install-servers.sh, \
                 install Debian's package postgresql, or set DATABASE_URL to a server of yours"
            )
        })
}

/// The major version that `postgres --version` tells: `postgres (PostgreSQL) 15.18 (...)`.
fn version(program: impl AsRef<OsStr>) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let digits = text.split(')').nth(1)?.trim_start();
    digits
        .split(|letter: char| !letter.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}
