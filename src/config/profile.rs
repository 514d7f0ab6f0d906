//! Profiles: named sets of defaults, each written as the configuration it stands for.

use super::Profile;
use super::file::{Origin, Table, Value, parse_profile};

/// The names of all profiles.
pub(super) const PROFILES: [(&str, Profile); 3] =
    [("default", Profile::Default), ("spring", Profile::Spring), ("rabbitmq", Profile::Rabbitmq)];

/// Exactly what `profile = "spring"` stands for.
const SPRING: &str = include_str!("profiles/spring.toml");

/// Exactly what `profile = "rabbitmq"` stands for.
const RABBITMQ: &str = include_str!("profiles/rabbitmq.toml");

/// What the profile that the tree chooses stands for. A wrong name is found when the key is read.
pub(super) fn chosen(tree: &Table) -> Option<Table> {
    let Value::Text(name) = &tree.get("profile")?.value else { return None };
    let (name, profile) = PROFILES.iter().find(|(candidate, _)| candidate == name)?;
    let text = match profile {
        Profile::Default => return None,
        Profile::Spring => SPRING,
        Profile::Rabbitmq => RABBITMQ,
    };
    Some(parse_profile(text, &Origin::Profile(name)))
}
