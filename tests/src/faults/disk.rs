//! A small file system that can be full.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};

use crate::random;

/// Its size while it is not full; memory is taken only for what is in it.
const ROOMY: &str = "size=8G";

/// The room that is left: what is written between looking and mounting fits.
const SLACK: u64 = 1024 * 1024;

/// A file system in memory, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one that every user can write to.
    ///
    /// # Errors
    /// When it cannot be mounted: only root may.
    pub fn mount() -> Result<Self> {
        let path = Path::new("/var/tmp").join(format!("dialoom-small-{}", random::hex(4)));
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let disk = Self { path };
        let path = disk.path.as_os_str();
        run(Command::new("mount")
            .args(["-t", "tmpfs", "-o", ROOMY, "tmpfs"])
            .arg(path))
        .context("the fault disk-full needs root, to mount a small file system")?;
        fs::set_permissions(&disk.path, fs::Permissions::from_mode(0o777))?;
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Leaves it hardly more room than what is in it takes.
    ///
    /// # Errors
    /// When it cannot be mounted again.
    pub fn fill(&self) -> Result<()> {
        let used = run(Command::new("df")
            .args(["--block-size=1", "--output=used"])
            .arg(&self.path))?;
        let used: u64 = used
            .lines()
            .nth(1)
            .and_then(|line| line.trim().parse().ok())
            .context("df tells what is used")?;
        self.remount(&format!("size={}", used + SLACK))
    }

    /// Gives it room again.
    ///
    /// # Errors
    /// When it cannot be mounted again.
    pub fn empty(&self) -> Result<()> {
        self.remount(ROOMY)
    }

    fn remount(&self, size: &str) -> Result<()> {
        let options = format!("remount,{size}");
        run(Command::new("mount").args(["-o", &options]).arg(&self.path)).map(drop)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Whatever still holds it is killed with its folder.
        let _ = run(Command::new("umount").arg("--lazy").arg(&self.path));
        let _ = fs::remove_dir(&self.path);
    }
}

fn run(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{}: {complaint}",
        command.get_program().display()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
