//! Where this checkout keeps what it makes at run time.

use std::{
    env,
    fs::{self, File},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

/// The mode of a folder that only its owner may enter.
const OWNER_ONLY: u32 = 0o700;
/// What nobody but the owner may do with `.dev`: read and write for the group,
/// everything for others. The group's right to pass through is not in it, since
/// PostgreSQL's user may need that.
const OF_STRANGERS: u32 = 0o067;

/// The root of the checkout that this program was called in: the nearest folder,
/// from the current one upwards, that holds this package as `tests`.
///
/// It is found at run time. The path that the program was built in can be another
/// checkout's, since checkouts may share a target folder.
///
/// # Errors
/// When the current folder lies in no checkout; the error names it.
pub fn root() -> Result<PathBuf> {
    let here = env::current_dir().context("cannot tell what the current folder is")?;
    root_above(&here)
}

fn root_above(folder: &Path) -> Result<PathBuf> {
    let root = folder.ancestors().find(|folder| is_root(folder));
    root.map(Path::to_owned).with_context(|| {
        format!(
            "{} is not in a checkout of this project: change to one first",
            folder.display()
        )
    })
}

/// Whether a folder is the workspace that this package belongs to. `fuzz` is a
/// workspace as well, and has no such package.
fn is_root(folder: &Path) -> bool {
    let has_line = |file: &str, line: &str| {
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.lines().any(|other| other == line)
    };
    has_line("Cargo.toml", "[workspace]")
        && has_line(
            "tests/Cargo.toml",
            concat!("name = \"", env!("CARGO_PKG_NAME"), "\""),
        )
}

/// The folder `.dev` of the checkout (not tracked by git), made when missing.
/// Strangers can neither list it nor pass through it.
///
/// # Errors
/// When the folder cannot be made.
pub fn dev_folder() -> Result<PathBuf> {
    let folder = root()?.join(".dev");
    make_folder(&folder)?;
    // Earlier versions made it with the mode that the umask gave.
    let mode = fs::metadata(&folder)?.permissions().mode();
    if mode & OF_STRANGERS != 0 {
        fs::set_permissions(&folder, fs::Permissions::from_mode(OWNER_ONLY))
            .with_context(|| format!("cannot close {} to others", folder.display()))?;
    }
    Ok(folder)
}

/// Makes a folder and its parents, for their owner only.
///
/// # Errors
/// When that fails; the error names the folder.
pub fn make_folder(folder: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(OWNER_ONLY)
        .create(folder)
        .with_context(|| format!("cannot make the folder {}", folder.display()))
}

/// Writes a file in one step, readable by its owner only: a reader sees the old
/// text or the new one, and never a part. The files may hold passwords.
///
/// # Errors
/// When the file cannot be written; the error names it.
pub fn write_private(path: &Path, text: &str) -> Result<()> {
    put_private(path, &mut text.as_bytes(), 0o600)
}

/// Copies a program in one step, for its owner only.
///
/// # Errors
/// When the copy cannot be written; the error names it.
pub fn copy_program(program: &Path, to: &Path) -> Result<()> {
    let mut file =
        File::open(program).with_context(|| format!("cannot read {}", program.display()))?;
    put_private(to, &mut file, 0o700)
}

fn put_private(path: &Path, content: &mut impl io::Read, mode: u32) -> Result<()> {
    let draft = path.with_extension("draft");
    let mut put = || {
        // A draft left over from a killed run may have another owner or mode.
        match fs::remove_file(&draft) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&draft)?;
        io::copy(content, &mut file)?;
        fs::rename(&draft, path)
    };
    put().with_context(|| format!("cannot write {}", path.display()))
}

/// Removes a folder with all that is in it; one that is not there is fine.
///
/// # Errors
/// When something of it stays; the error names the folder.
pub fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
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

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::root_above;
    use crate::private::PrivateFolder;

    fn write(folder: &Path, file: &str, text: &str) {
        let path = folder.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn the_nearest_checkout_is_the_root() {
        let around = PrivateFolder::make("root").unwrap();
        let (outer, inner) = (around.path().join("outer"), around.path().join("outer/in"));
        for root in [&outer, &inner] {
            write(root, "Cargo.toml", "[workspace]\nmembers = [\"tests\"]\n");
            write(root, "tests/Cargo.toml", "[package]\nname = \"harness\"\n");
            write(root, "tests/src/lib.rs", "");
            write(root, "fuzz/Cargo.toml", "[workspace]\n");
        }
        for root in [&outer, &inner] {
            for below in ["", "tests/src", "fuzz"] {
                assert_eq!(&root_above(&root.join(below)).unwrap(), root, "{below}");
            }
        }
    }

    #[test]
    fn a_folder_outside_of_every_checkout_is_an_error() {
        let error = root_above(Path::new("/usr")).unwrap_err().to_string();
        assert!(error.contains("/usr is not in a checkout"), "{error}");
    }
}
