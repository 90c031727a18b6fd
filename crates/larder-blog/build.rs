//! Builds again when the page or a migration changed: both are embedded into the binary.

fn main() {
    println!("cargo::rerun-if-changed=../../web/dist");
    println!("cargo::rerun-if-changed=migrations");
}
