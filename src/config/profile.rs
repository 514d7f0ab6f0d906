//! Profiles: named sets of defaults, each written as the configuration it stands for.

use super::Profile;
use super::file::{Origin, Table, Value, parse_profile};

/// The names of all profiles.
pub(super) const PROFILES: [(&str, Profile); 2] = [("default", Profile::Default), ("spring", Profile::Spring)];

/// Exactly what `profile = "spring"` stands for.
const SPRING: &str = include_str!("profiles/spring.toml");

/// What the profile that the tree chooses stands for. A wrong name is found when the key is read.
pub(super) fn chosen(tree: &Table) -> Option<Table> {
    let Value::Text(name) = &tree.get("profile")?.value else { return None };
    let (name, profile) = PROFILES.iter().find(|(candidate, _)| candidate == name)?;
    match profile {
        Profile::Default => None,
        Profile::Spring => Some(parse_profile(SPRING, &Origin::Profile(name))),
    }
}
