//! The data of a private PostgreSQL server, and what is kept beside it.

use std::{
    fs,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Serialize};

use super::{
    NAME,
    owner::{self, Owner},
};
use crate::{certificates::Identity, checkout, ports, random, servers::Durability};

/// What is kept beside the data.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct State {
    /// Folder of the data, which need not lie below the server's own.
    pub(super) area: PathBuf,
    pub(super) port: u16,
    pub(super) password: String,
}

impl State {
    /// The state of the server in this folder, where its data is complete.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let state = Self::parse(&folder.join("state.json"))?;
        state.area.join("data").is_dir().then_some(state)
    }

    /// The state that this file holds.
    pub(super) fn parse(file: &Path) -> Option<Self> {
        serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        checkout::write_private(&folder.join("state.json"), &serde_json::to_string(self)?)
    }
}

/// Makes the folder of a server, through which its user can pass to the data.
pub(super) fn make_folder(folder: &Path) -> Result<()> {
    checkout::make_folder(folder)?;
    match Owner::needed()? {
        Some(owner) => owner.let_pass(folder),
        None => Ok(()),
    }
}

/// Makes the data of a new server. The state is written last: without it the
/// data counts as half made, and is made again.
pub(super) async fn make(folder: &Path, programs: &Path, durability: Durability) -> Result<State> {
    let area = make_area(folder)?;
    let password = random::hex(16);
    let password_file = area.join("password");
    checkout::write_private(&password_file, &password)?;
    if let Some(owner) = Owner::needed()? {
        owner.give(&password_file)?;
    }
    let mut command = Command::new(programs.join("initdb"));
    owner::run_as(&mut command, &area)?;
    command
        .arg("-D")
        .arg(area.join("data"))
        .arg("--username")
        .arg(NAME);
    command
        .arg("--pwfile")
        .arg(&password_file)
        .args(["--encoding=UTF8", "--locale=C.UTF-8"]);
    // The password is asked for in the clear: it does not leave the machine, and
    // a debug build would take tens of milliseconds for each SCRAM exchange.
    command.arg("--auth=password");
    if durability == Durability::Fast {
        command.arg("--no-sync");
    }
    let mut command = tokio::process::Command::from(command);
    let output = command
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run initdb")?;
    ensure!(
        output.status.success(),
        "initdb failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    fs::remove_file(&password_file)?;
    let state = State {
        area,
        port: ports::free()?,
        password,
    };
    state.write(folder)?;
    Ok(state)
}

/// Writes a certificate and its key where the server can read them and nobody
/// else; gives both paths.
pub(super) fn keep(area: &Path, identity: &Identity) -> Result<[String; 2]> {
    let owner = Owner::needed()?;
    let write = |name: &str, text: &str| {
        let path = area.join(name);
        checkout::write_private(&path, text)?;
        if let Some(owner) = &owner {
            owner.give(&path)?;
        }
        anyhow::Ok(path.display().to_string())
    };
    Ok([
        write("server.pem", &identity.certificate)?,
        write("server.key", &identity.key)?,
    ])
}

/// Makes the data of a standby: a copy of a running server's, which goes on to
/// follow it.
pub(super) async fn copy(folder: &Path, programs: &Path, primary: &State) -> Result<State> {
    let area = make_area(folder)?;
    let mut command = Command::new(programs.join("pg_basebackup"));
    owner::run_as(&mut command, &area)?;
    command
        .env("PGPASSWORD", &primary.password)
        .args(["--host=127.0.0.1", "--username", NAME])
        .arg(format!("--port={}", primary.port))
        .arg("--pgdata")
        .arg(area.join("data"))
        .args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
    let output = tokio::process::Command::from(command)
        .kill_on_drop(true)
        .output()
        .await
        .context("cannot run pg_basebackup")?;
    ensure!(
        output.status.success(),
        "pg_basebackup failed:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let state = State {
        area,
        port: ports::free()?,
        password: primary.password.clone(),
    };
    state.write(folder)?;
    Ok(state)
}

/// Makes an empty folder for the data: below `folder` where the server's user
/// can reach that, else in the folder for temporary files. A folder above the
/// checkout may keep the user out, such as root's home.
fn make_area(folder: &Path) -> Result<PathBuf> {
    let owner = Owner::needed()?;
    let near = folder.join("area");
    let area = match &owner {
        Some(owner) if !owner.can_reach(folder) => {
            let name = format!("dialoom-postgres-{}", random::hex(8));
            let far =
                std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
            far.join(name)
        }
        _ => near,
    };
    checkout::remove_folder(&area)?;
    // It must be new: in the folder for temporary files, anybody can make one.
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&area)
        .with_context(|| format!("cannot make {}", area.display()))?;
    if let Some(owner) = owner {
        owner.give(&area)?;
    }
    Ok(area)
}
