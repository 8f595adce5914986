//! `docker-compose.yml`, read as compose reads it, and what it must say.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use harness::checkout;
use yaml_rust2::{Yaml, YamlLoader};

/// What has no default, as the file's head says.
const DEMANDED: [&str; 4] = [
    "POSTGRES_PASSWORD",
    "RABBITMQ_PASSWORD",
    "STRIPE_MODE",
    "STRIPE_WEBHOOK_SECRETS",
];

/// The two that the Dockerfile builds.
pub(crate) const BUILT: [&str; 2] = ["ingest", "worker"];

/// A service of the file.
pub(crate) struct ComposeService(Yaml);

impl ComposeService {
    /// The service of this name.
    pub(crate) fn read(name: &str) -> Self {
        let mut services = services();
        Self(services.remove(name).expect(name))
    }

    /// A field of the service, or of what it takes over by `<<`.
    fn field(&self, name: &str) -> &Yaml {
        match &self.0[name] {
            Yaml::BadValue => &self.0["<<"][name],
            own => own,
        }
    }

    /// The variables that the container gets, where `given` are set for compose.
    pub(crate) fn environment(
        &self,
        given: &BTreeMap<&str, String>,
    ) -> Result<BTreeMap<String, String>, String> {
        let fields = self.field("environment").as_hash().expect("a mapping");
        let fields = fields.iter().map(|(name, value)| {
            let value = interpolate(text(value), given)?;
            Ok((text(name).to_owned(), value))
        });
        fields.collect()
    }

    /// The ports of the container that are published.
    pub(crate) fn ports(&self) -> BTreeSet<String> {
        let ports = self.field("ports").as_vec().expect("a list");
        let ports = ports.iter().map(|port| text(port).rsplit(':').next());
        ports.map(|port| port.unwrap().to_owned()).collect()
    }

    /// Whether it has as few rights as a container can have.
    pub(crate) fn is_locked_up(&self) -> bool {
        let list = |name: &str| -> Vec<&str> {
            let list = self.field(name).as_vec();
            list.into_iter().flatten().map(text).collect()
        };
        self.field("read_only").as_bool() == Some(true)
            && list("cap_drop") == ["ALL"]
            && list("security_opt") == ["no-new-privileges:true"]
            && self.field("cap_add").is_badvalue()
            && self.field("user").is_badvalue()
    }
}

fn services() -> BTreeMap<String, Yaml> {
    let file = checkout::root().unwrap().join("docker-compose.yml");
    let file = fs::read_to_string(file).unwrap();
    let document = YamlLoader::load_from_str(&file).unwrap().remove(0);
    let services = document["services"].as_hash().expect("services");
    let services = services.iter();
    services
        .map(|(name, service)| (text(name).to_owned(), service.clone()))
        .collect()
}

fn text(value: &Yaml) -> &str {
    value.as_str().expect("a text")
}

/// Puts in what stands for a variable: `${NAME}`, `${NAME:-default}`, or
/// `${NAME:?message}`, which is an error where the variable is not set or empty.
fn interpolate(text: &str, given: &BTreeMap<&str, String>) -> Result<String, String> {
    let Some((before, rest)) = text.split_once("${") else {
        return Ok(text.to_owned());
    };
    let (inside, after) = rest.split_once('}').expect("a closing brace");
    let end = inside.find(':').unwrap_or(inside.len());
    let (name, otherwise) = inside.split_at(end);
    let value = given.get(name).filter(|value| !value.is_empty());
    let value = match (value, otherwise.split_at(otherwise.len().min(2))) {
        (Some(value), _) => value.clone(),
        (None, (":-", default)) => default.to_owned(),
        (None, (":?", _)) => return Err(name.to_owned()),
        (None, _) => String::new(),
    };
    Ok(format!("{before}{value}{}", interpolate(after, given)?))
}

#[test]
fn the_servers_are_of_a_minor_version_that_is_named() {
    let images: Vec<(String, String)> = services()
        .into_iter()
        .filter_map(|(name, service)| Some((name, service["image"].as_str()?.to_owned())))
        .collect();
    assert_eq!(images.len(), 2, "{images:?}");
    for (name, image) in images {
        let (_, tag) = image.split_once(':').expect(&name);
        let numbers: Vec<&str> = tag.split('-').next().unwrap().split('.').collect();
        let is_pinned =
            numbers.len() >= 2 && numbers.iter().all(|part| part.parse::<u32>().is_ok());
        assert!(is_pinned, "{name} is of the image {image}");
    }
}

#[test]
fn compose_starts_nothing_without_the_four_variables_and_needs_no_other() {
    let mut given: BTreeMap<&str, String> = DEMANDED.map(|name| (name, "x".to_owned())).into();
    for service in BUILT.map(ComposeService::read) {
        service.environment(&given).unwrap();
    }
    // Both services get the mode, so neither starts without one.
    for mode in [None, Some(String::new())] {
        given.remove("STRIPE_MODE");
        given.extend(mode.map(|mode| ("STRIPE_MODE", mode)));
        for service in BUILT.map(ComposeService::read) {
            assert_eq!(service.environment(&given), Err("STRIPE_MODE".to_owned()));
        }
    }
    let file = fs::read_to_string(checkout::root().unwrap().join("docker-compose.yml")).unwrap();
    let demanded: BTreeSet<&str> = file
        .split("${")
        .filter_map(|rest| Some(rest.split_once('}')?.0.split_once(":?")?.0))
        .collect();
    assert_eq!(demanded, BTreeSet::from(DEMANDED));
}

#[test]
fn the_services_have_no_rights_beyond_their_ports() {
    for name in BUILT {
        assert!(ComposeService::read(name).is_locked_up(), "{name}");
    }
}
