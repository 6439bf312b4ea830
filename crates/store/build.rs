//! A new migration is a change of this crate: without this line it would be noticed only when a source file changes too.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
