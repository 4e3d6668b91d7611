//! Makes cargo notice new migrations: they are embedded by a macro that it cannot look into.

fn main() {
    println!("cargo:rerun-if-changed=../../migrations");
}
