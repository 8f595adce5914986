//! The programs behind `make`: they work on the checkout that they are called in,
//! and nobody else reads what they keep there.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::{Command, Output},
};

use harness::{
    checkout,
    private::PrivateFolder,
    services::{Service, ServiceOptions},
};

use crate::support::write_script;

const STACK: &str = env!("CARGO_BIN_EXE_stack");

/// A user and a group that own nothing.
const STRANGER: &str = "54321";

/// Makes a folder that looks like a checkout.
fn make_checkout(root: &Path) {
    fs::create_dir_all(root.join("tests")).unwrap();
    fs::write(root.join("Cargo.toml"), "[workspace]\n").unwrap();
    let package = "[package]\nname = \"harness\"\n";
    fs::write(root.join("tests/Cargo.toml"), package).unwrap();
}

/// A worker that `up` could have started in this checkout.
fn worker_of(root: &Path) -> Service {
    let folder = root.join(".dev/up");
    checkout::make_folder(&folder).unwrap();
    let binary = folder.join("service");
    // Its command line holds the path of the service, by which it is found again.
    write_script(&binary, "#!/bin/sh\nexec tail -f \"$0\"\n");
    let options = ServiceOptions {
        binary: Some(binary),
        ..ServiceOptions::worker(&folder).unwrap()
    };
    Service::spawn(options).unwrap()
}

/// Calls a program in a folder, under the umask that most users have, and without
/// servers that are given.
fn call(folder: &Path, program: &str, arguments: &[&str]) -> Output {
    Command::new("/bin/sh")
        .args(["-c", r#"umask 022 && exec "$0" "$@""#, program])
        .args(arguments)
        .current_dir(folder)
        .env_remove("DATABASE_URL")
        .env_remove("AMQP_URL")
        .output()
        .unwrap()
}

fn printed(output: &Output) -> String {
    let out = String::from_utf8_lossy(&output.stdout);
    format!("{out}{}", String::from_utf8_lossy(&output.stderr))
}

#[tokio::test]
async fn down_stops_what_runs_in_the_checkout_that_it_is_called_in() {
    let folder = PrivateFolder::make("checkouts").unwrap();
    let [ours, theirs] = ["ours", "theirs"].map(|name| {
        let root = folder.path().join(name);
        make_checkout(&root);
        root
    });
    let (our_worker, their_worker) = (worker_of(&ours), worker_of(&theirs));

    let down = call(&ours.join("tests"), STACK, &["down"]);
    let (text, pid) = (printed(&down), our_worker.process().pid());
    assert!(down.status.success(), "{text}");
    assert_eq!(text, format!("worker is down (was process {pid})\n"));
    assert!(!our_worker.process().is_alive());
    assert!(their_worker.process().is_alive());

    let down = call(&ours, STACK, &["down"]);
    assert_eq!(printed(&down), "Nothing was up.\n");
    assert!(their_worker.process().is_alive());

    let down = call(&theirs, STACK, &["down"]);
    assert!(down.status.success(), "{}", printed(&down));
    assert!(!their_worker.process().is_alive());
}

#[test]
fn a_program_that_is_called_outside_of_a_checkout_says_so() {
    let few_events = ["--events=10", "--combined-events=10"];
    for (program, arguments) in [
        (STACK, &["up"] as &[&str]),
        (STACK, &["down"]),
        (STACK, &["run", "true"]),
        (STACK, &["demo"]),
        (env!("CARGO_BIN_EXE_bench"), &["--quick"]),
        (env!("CARGO_BIN_EXE_faults"), &few_events),
    ] {
        let output = call(Path::new("/usr"), program, arguments);
        let text = printed(&output);
        assert!(!output.status.success(), "{program} {arguments:?}: {text}");
        let reason = "/usr is not in a checkout of this project";
        assert!(text.contains(reason), "{program} {arguments:?}: {text}");
    }
}

/// All files and folders below a folder, and the folder.
fn everything_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    // A server may remove a folder while it is read.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(everything_in(&entry.path())),
            _ => found.push(entry.path()),
        }
    }
    found
}

/// What a user who owns nothing reads of these files of the checkout. The user
/// starts in the checkout, so that no folder above it stands in the way.
fn read_by_a_stranger(root: &Path, files: &[&str]) -> String {
    let output = Command::new("setpriv")
        .args(["--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"])
        .arg("cat")
        .args(files)
        .current_dir(root)
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
async fn only_its_owner_reads_what_up_leaves() {
    let is_root = fs::metadata("/proc/self").unwrap().uid() == 0;
    let folder = PrivateFolder::make("up").unwrap();
    // The checkout lies where everybody can pass.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let root = folder.path().join("checkout");
    make_checkout(&root);
    // An earlier version has made the folder.
    let dev = root.join(".dev");
    fs::create_dir(&dev).unwrap();
    fs::set_permissions(&dev, fs::Permissions::from_mode(0o755)).unwrap();
    let up = call(&root, STACK, &["up"]);
    assert!(up.status.success(), "{}", printed(&up));

    let found = everything_in(&dev);
    for file in ["env", "up.lock", "up/settings.json", "up/worker.log"] {
        assert!(found.contains(&dev.join(file)), "{file} in {found:#?}");
    }
    let queues = dev.join("up/rabbitmq/data");
    assert!(found.iter().any(|path| path.starts_with(&queues)));
    let open_to_others: BTreeSet<(&Path, u32)> = found
        .iter()
        .filter_map(|path| Some((path.as_path(), fs::symlink_metadata(path).ok()?)))
        .filter(|(_, metadata)| !metadata.is_symlink() && metadata.mode() & 0o077 != 0)
        .map(|(path, metadata)| (path, metadata.mode() & 0o777))
        .collect();
    // PostgreSQL does not run as root. Its group passes through to its data.
    let way = [&dev, &dev.join("up"), &dev.join("up/postgres")];
    let way = way.map(|folder| (folder.as_path(), 0o710));
    let expected = way.into_iter().filter(|_| is_root).collect();
    assert_eq!(open_to_others, expected);

    if is_root {
        let secrets = [".dev/env", ".dev/up/settings.json", ".dev/up/ingest.log"];
        let files = [&["Cargo.toml"], &secrets as &[&str]].concat();
        assert_eq!(read_by_a_stranger(&root, &files), "[workspace]\n");
    }

    // The copy that `up` keeps of its program stops everything.
    let kept = dev.join("up/stack").display().to_string();
    let down = call(&root, &kept, &["down", "--wipe"]);
    let text = printed(&down);
    assert!(down.status.success(), "{text}");
    for name in ["ingest", "worker", "PostgreSQL", "RabbitMQ"] {
        assert!(text.contains(&format!("{name} is down")), "{name}: {text}");
    }
    assert_eq!(everything_in(&dev), [dev.clone(), dev.join("up.lock")]);
}
