//! A service that does not become ready says why.

use std::path::PathBuf;

use anyhow::{Result, bail};
use harness::{
    private::PrivateFolder,
    services::{Service, ServiceOptions},
};

use crate::support::write_script;

#[tokio::test]
async fn a_service_that_ends_tells_its_status_and_its_last_words() -> Result<()> {
    let folder = PrivateFolder::make("services")?;
    let binary: PathBuf = folder.path().join("service");
    let script = "#!/bin/sh\necho \"STRIPE_MODE is $STRIPE_MODE\"\nexit 64\n";
    write_script(&binary, script);
    let options = ServiceOptions {
        binary: Some(binary),
        ..ServiceOptions::worker(folder.path())?.env("STRIPE_MODE", "tset")
    };
    let Err(error) = Service::start(options).await else {
        bail!("it became ready");
    };
    let text = format!("{error:#}");
    assert!(text.contains("exit status: 64"), "{text}");
    assert!(text.contains("STRIPE_MODE is tset"), "{text}");
    Ok(())
}
