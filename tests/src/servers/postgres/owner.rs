//! The user that PostgreSQL runs as.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _, chown},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::checkout;

/// The user that the server runs as when we are root, as which it refuses to run.
pub(super) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    pub(super) fn needed() -> Result<Option<Self>> {
        if !rustix::process::geteuid().is_root() {
            return Ok(None);
        }
        let users = fs::read_to_string("/etc/passwd").context("cannot read /etc/passwd")?;
        ["postgres", "nobody"]
            .iter()
            .find_map(|name| Self::find(&users, name))
            .map(Some)
            .context("PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody")
    }

    fn find(users: &str, name: &str) -> Option<Self> {
        let mut fields = users
            .lines()
            .map(|line| line.split(':'))
            .find(|fields| fields.clone().next() == Some(name))?;
        Some(Self {
            uid: fields.nth(2)?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    }

    pub(super) fn give(&self, path: &Path) -> Result<()> {
        chown(path, Some(self.uid), Some(self.gid))
            .with_context(|| format!("cannot give {} to PostgreSQL's user", path.display()))
    }

    /// Lets the user's group pass through this folder and those of `.dev` above
    /// it. The group can neither list nor write them, and others can do nothing.
    pub(super) fn let_pass(&self, folder: &Path) -> Result<()> {
        let dev = checkout::dev_folder()?;
        let ours = folder
            .ancestors()
            .take_while(|folder| folder.starts_with(&dev));
        for folder in ours {
            chown(folder, None, Some(self.gid))
                .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o710)))
                .with_context(|| {
                    format!("cannot let PostgreSQL's user through {}", folder.display())
                })?;
        }
        Ok(())
    }

    /// Whether the user can pass through this folder and all above it.
    pub(super) fn can_reach(&self, folder: &Path) -> bool {
        let can_pass = |folder: &Path| {
            fs::metadata(folder).is_ok_and(|metadata| {
                let right = if metadata.uid() == self.uid {
                    0o100
                } else if metadata.gid() == self.gid {
                    0o010
                } else {
                    0o001
                };
                metadata.mode() & right != 0
            })
        };
        folder.ancestors().all(can_pass)
    }
}

/// Has the command run as the server's user, in a folder that this user can
/// enter, and untouched by `PG...` variables.
pub(super) fn run_as(command: &mut Command, area: &Path) -> Result<()> {
    command
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir(area);
    if let Some(owner) = Owner::needed()? {
        command.uid(owner.uid).gid(owner.gid);
    }
    Ok(())
}
