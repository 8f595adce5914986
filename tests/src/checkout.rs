//! Where this checkout keeps what it makes at run time.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The root of the checkout that this crate was built in.
#[must_use]
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// The folder `.dev` of the checkout (not tracked by git), made when missing.
///
/// # Errors
/// When the folder cannot be made.
pub fn dev_folder() -> Result<PathBuf> {
    let folder = root().join(".dev");
    make_folder(&folder)?;
    Ok(folder)
}

/// Makes a folder and its parents.
///
/// # Errors
/// When that fails; the error names the folder.
pub fn make_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Writes a file in one step, readable by its owner only: a reader sees the old
/// text or the new one, and never a part. The files may hold passwords.
///
/// # Errors
/// When the file cannot be written; the error names it.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};

    let draft = path.with_extension("draft");
    let write = || {
        // A draft left over from a killed run may have another owner or mode.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&draft)?;
        file.write_all(text.as_bytes())?;
        fs::rename(&draft, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a folder with all that is in it; one that is not there is fine.
///
/// # Errors
/// When something of it stays; the error names the folder.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The last `count` lines of a text file, for error messages.
#[must_use]
pub fn tail(path: &Path, count: usize) -> String {
    let Ok(bytes) = fs::read(path) else {
        return format!("(no log at {})", path.display());
    };
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}
