//! A web application that was built since the last time is embedded anew.

fn main() {
    // Cargo looks at a directory's newest file; one that does not exist yet counts as changed when it appears.
    println!("cargo:rerun-if-changed=../../web/dist");
    println!("cargo:rerun-if-changed=build.rs");
}
