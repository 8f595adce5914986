//! The migrations are embedded: a new one must not be missed.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks")]

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
