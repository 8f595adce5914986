//! TODO(ingest)
fn main() {}
