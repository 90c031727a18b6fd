//! Builds again when the console was built: it is embedded.

fn main() {
    // The folder is always there; what is built is put into it.
    println!("cargo::rerun-if-changed=console");
}
