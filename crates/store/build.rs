//! A new migration is a change of this crate: without this line it would be noticed only when a source file changes too.

#[expect(clippy::print_stdout, reason = "how a build script speaks to cargo")]
fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
