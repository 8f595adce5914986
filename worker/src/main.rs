//! The worker's binary.

use std::process::ExitCode;

use shared::config::Env;

#[tokio::main]
async fn main() -> ExitCode {
    worker::commands::main(Env::from_process()).await
}
