//! The programs behind `make` work on the checkout that they are called in.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use harness::{
    checkout,
    private::PrivateFolder,
    services::{Service, ServiceOptions},
};

use crate::support::write_script;

const STACK: &str = env!("CARGO_BIN_EXE_stack");

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
