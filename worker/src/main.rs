//! TODO(worker)
fn main() {}
