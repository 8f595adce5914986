//! The worker's binary.

use std::{panic, process::ExitCode};

use shared::config::Env;
use worker::cli;

/// One thread: what passes an event on to the next task of its way then wakes
/// no other thread, which on an idle machine takes longer than the work itself.
/// It is the kind of runtime that lets migrations block.
#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    // Spawned, because what is awaited here would run on a thread of its own.
    let done = tokio::spawn(cli::main(Env::from_process())).await;
    done.unwrap_or_else(|panicked| panic::resume_unwind(panicked.into_panic()))
}
