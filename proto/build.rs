//! Generates the wire types with pure Rust: no protoc on the machine.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["proto/control.proto", "proto/data.proto"];
    for file in files {
        println!("cargo:rerun-if-changed={file}");
    }
    let descriptors = protox::compile(files, ["proto"])?;
    let mut prost = tonic_prost_build::Config::new();
    prost.bytes(["."]);
    tonic_prost_build::configure().compile_fds_with_config(descriptors, prost)?;
    Ok(())
}
