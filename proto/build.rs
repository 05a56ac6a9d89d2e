//! Generates the wire types with pure Rust: no protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/control.proto", "proto/data.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    let mut prost = tonic_prost_build::Config::new();
    prost.bytes(["."]);
    // It holds secrets: `wire.rs` shows its names alone.
    prost.skip_debug([".gnist.control.v1.Stores"]);
    tonic_prost_build::configure().compile_fds_with_config(descriptors, prost)?;
    Ok(())
}
