//! The checked-in gRPC code is what the schemas say. `TIDEGATE_REGENERATE=1 cargo test --release --workspace generated`
//! rewrites it. The FlatBuffers code is made by flatc of the version of the `flatbuffers` crate (schemas/README.md).

use std::{env, fs, path::Path};

#[test]
fn generated_code_matches_the_schemas() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = tempdir();
    let files = protox::compile(["proto/config.proto", "proto/query.proto"].map(|file| root.join(file)), [root.join("proto")])
        .expect("the schemas compile");
    tonic_prost_build::configure()
        .build_transport(true)
        .out_dir(&out)
        .compile_fds(files)
        .expect("the code generator accepts the schemas");
    for name in ["tidegate.config.v1.rs", "tidegate.query.v1.rs"] {
        let fresh = fs::read_to_string(out.join(name)).expect("the generator wrote the file");
        let checked_in = root.join("src/generated").join(name);
        if env::var_os("TIDEGATE_REGENERATE").is_some() {
            fs::write(&checked_in, &fresh).expect("src/generated is writable");
        }
        let found = fs::read_to_string(&checked_in).unwrap_or_default();
        assert!(found == fresh, "{name} is stale: run with TIDEGATE_REGENERATE=1 and commit");
    }
    fs::remove_dir_all(out).expect("the scratch folder is ours");
}

fn tempdir() -> std::path::PathBuf {
    let path = env::temp_dir().join(format!("tidegate-generated-{}", std::process::id()));
    fs::create_dir_all(&path).expect("the temporary folder is writable");
    path
}
