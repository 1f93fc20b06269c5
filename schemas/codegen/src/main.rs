//! Writes `schemas/src/generated/*.rs` from `schemas/proto`; with `--check` only says whether they are current.
//! The FlatBuffers code is made by flatc of the version of the `flatbuffers` crate (schemas/README.md).

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

const PROTOS: [&str; 4] = ["config", "query", "registry", "kept"];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let check = env::args().nth(1).as_deref() == Some("--check");
    let schemas = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let checked_in = schemas.join("src/generated");
    if !check {
        generate(&schemas, &checked_in)?;
        return Ok(ExitCode::SUCCESS);
    }
    let fresh = env::temp_dir().join(format!("tidegate-codegen-{}", std::process::id()));
    fs::create_dir_all(&fresh)?;
    generate(&schemas, &fresh)?;
    let stale: Vec<String> = PROTOS
        .into_iter()
        .map(|name| format!("tidegate.{name}.v1.rs"))
        .filter(|name| fs::read(fresh.join(name)).ok() != fs::read(checked_in.join(name)).ok())
        .collect();
    fs::remove_dir_all(&fresh)?;
    if stale.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("stale: {}; run `cargo run --manifest-path schemas/codegen/Cargo.toml` and commit", stale.join(", "));
    Ok(ExitCode::FAILURE)
}

fn generate(schemas: &Path, out: &PathBuf) -> Result<(), Box<dyn Error>> {
    let proto = schemas.join("proto");
    let files = PROTOS.map(|name| proto.join(format!("{name}.proto")));
    let descriptors = protox::compile(files, [proto])?;
    tonic_prost_build::configure().build_transport(true).out_dir(out).compile_fds(descriptors)?;
    Ok(())
}
