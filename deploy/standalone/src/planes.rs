//! File, environment and arguments → what each plane of this process is told. Reads them once; starts nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use schemas::settings::{File, Input, InvalidSettings, Loaded, Problem, Role, VARIABLE_PREFIX, load};
use tracing_subscriber::EnvFilter;

use crate::arguments::Arguments;

/// Everything a process was told, checked.
#[derive(Debug)]
pub(crate) struct Planes {
    pub(crate) loaded: Loaded,
    pub(crate) dataplane: Option<dataplane::settings::Settings>,
    pub(crate) controlplane: Option<controlplane::settings::Settings>,
    pub(crate) filter: EnvFilter,
}

impl Planes {
    /// Reads and checks.
    ///
    /// # Errors
    /// All problems of all planes together.
    pub(crate) fn gather(role: Role, arguments: &Arguments) -> Result<Self, InvalidSettings> {
        let file = match &arguments.settings {
            None => None,
            Some(path) => Some(fs::read(path).map_err(|error| {
                let problem = Problem::new("--settings", &path.display().to_string(), format!("a readable file ({error})"));
                InvalidSettings { problems: vec![problem] }
            })?),
        };
        let given: Vec<(&'static str, String)> =
            arguments.data_dir.iter().map(|directory| ("data_dir", directory.clone())).collect();
        let environment = environment();
        let name = arguments.settings.as_deref().unwrap_or_else(|| Path::new("")).display().to_string();
        let file = file.as_deref().map(|bytes| File { name: &name, bytes });
        let input = Input { role, file, environment: &environment, arguments: &given };
        Self::from_input(&input, arguments.demo)
    }

    fn from_input(input: &Input<'_>, demo: bool) -> Result<Self, InvalidSettings> {
        let role = input.role;
        let mut problems = Vec::new();
        if demo && !role.has_control_plane() {
            problems.push(Problem::new(
                "--demo",
                "true",
                "only for a process with a control plane, which holds users and devices",
            ));
        }
        let mut loaded = match load(input) {
            Ok(loaded) => loaded,
            Err(mut invalid) => {
                invalid.problems.append(&mut problems);
                return Err(invalid);
            }
        };
        if loaded.value("grpc.join_token").is_none() {
            loaded.supply("grpc.join_token", &random_token()?);
        }
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let dataplane = role.has_data_plane().then(|| dataplane::settings::Settings::new(&loaded, cores));
        let dataplane = dataplane.transpose().map_err(|invalid| problems.extend(invalid.problems));
        let controlplane = role.has_control_plane().then(|| controlplane::settings::Settings::new(&loaded, demo));
        let controlplane = controlplane.transpose().map_err(|invalid| problems.extend(invalid.problems));
        let text = loaded.text("log.filter").unwrap_or("info");
        let filter = EnvFilter::try_new(text)
            .map_err(|error| problems.push(Problem::new("log.filter", text, format!("a tracing filter ({error})"))));
        match (dataplane, controlplane, filter) {
            (Ok(dataplane), Ok(controlplane), Ok(filter)) if problems.is_empty() => {
                Ok(Self { loaded, dataplane, controlplane, filter })
            }
            _ => Err(InvalidSettings { problems }),
        }
    }

    pub(crate) fn role(&self) -> Role {
        self.loaded.role()
    }
}

/// Our own variables. A value that is not Unicode keeps its replacement characters and is judged by its rule.
fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into_owned(), value))
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .map(|(name, value)| (name, value.to_string_lossy().into_owned()))
        .collect()
}

/// What the planes of one process show each other; a new one at every start (DESIGN 8.7, 27).
fn random_token() -> Result<String, InvalidSettings> {
    let mut bytes = [0_u8; 32];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| {
        let problem = Problem::new("grpc.join_token", "(random)", "the system gave no randomness; set a token of 16 characters");
        InvalidSettings { problems: vec![problem] }
    })?;
    Ok(bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

#[cfg(test)]
mod tests {
    use schemas::settings::{KEYS, Source};

    use super::*;

    const EXAMPLES: [(&str, Role, &str); 3] = [
        ("tidegate.toml", Role::Standalone, include_str!("../../settings/tidegate.toml")),
        ("dataplane.toml", Role::Dataplane, include_str!("../../settings/dataplane.toml")),
        ("controlplane.toml", Role::Controlplane, include_str!("../../settings/controlplane.toml")),
    ];

    fn check(role: Role, file: &str, variables: &[(&str, &str)], demo: bool) -> Result<Planes, String> {
        let environment = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let input = Input {
            role,
            file: Some(File { name: "test.toml", bytes: file.as_bytes() }),
            environment: &environment,
            arguments: &[],
        };
        Planes::from_input(&input, demo).map_err(|invalid| invalid.to_string())
    }

    #[test]
    fn the_examples_are_accepted() {
        for (name, role, text) in EXAMPLES {
            if let Err(refusal) = check(role, text, &[("TIDEGATE_GRPC_JOIN_TOKEN", "0123456789abcdef")], false) {
                panic!("deploy/settings/{name}: {refusal}");
            }
        }
    }

    #[test]
    fn the_full_example_names_every_key_with_its_default() {
        // `#key = value` is a commented setting, `# text` a comment.
        let text = EXAMPLES[0].2;
        let uncommented: Vec<&str> =
            text.lines().map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)).collect();
        let loaded = check(Role::Standalone, &uncommented.join("\n"), &[], false).unwrap().loaded;
        for (entry, key) in loaded.entries().iter().zip(KEYS) {
            assert_eq!(entry.source, Source::File, "deploy/settings/tidegate.toml lacks {}", key.path());
            if let (Some(default), Some(value)) = (key.default, &entry.value) {
                assert_eq!(value.to_string(), default, "{} is shown with its default", key.path());
            }
        }
    }

    #[test]
    fn standalone_planes_share_a_random_token() {
        let planes = check(Role::Standalone, "", &[], false).unwrap();
        let token = planes.dataplane.unwrap().join_token;
        assert_eq!(token.len(), 64);
        assert_eq!(planes.controlplane.unwrap().join_token, token);
        assert_ne!(check(Role::Standalone, "", &[], false).unwrap().dataplane.unwrap().join_token, token);
    }

    #[test]
    fn a_split_plane_gets_only_its_own_settings() {
        let token = [("TIDEGATE_GRPC_JOIN_TOKEN", "0123456789abcdef")];
        let planes = check(Role::Dataplane, "", &token, false).unwrap();
        assert!(planes.dataplane.is_some() && planes.controlplane.is_none());
        let refusal = check(Role::Dataplane, "", &token, true).unwrap_err();
        assert!(refusal.contains("--demo"), "{refusal}");
    }

    #[test]
    fn problems_of_all_planes_come_together() {
        let refusal = check(Role::Standalone, "memory_max = 1\n[log]\nfilter = \"a=b=c\"\n", &[], false).unwrap_err();
        assert!(refusal.contains("memory_max") && refusal.contains("log.filter"), "{refusal}");
    }
}
