//! The access rules of a zone: `access`, a list in which the first rule that fits decides.

use http::Method;

use super::section::{Scalar, Section};
use crate::directory::UserKind;
use crate::zone::{Allow, COMMON_METHODS, Members, PathPattern, RULES_MAX, Rule, Rules};

/// What `allow` says, as the file writes it.
const ALLOWED: [(&str, Allow); 4] = [
    ("public", Allow::Public),
    ("optional", Allow::Optional),
    ("signed_in", Allow::SignedIn),
    ("deny", Allow::Deny),
];

/// The longest name of a rule, in bytes: every line of the access log carries it.
const NAME_BYTES_MAX: usize = 64;

/// `more_methods`: what the zone passes on beside the common ones.
pub(super) fn read(zone: &Section<'_>, more_methods: &[Method]) -> Rules {
    let sections = zone.sections("access");
    if sections.len() > RULES_MAX {
        let text = format!("has {} rules, and a zone may have {RULES_MAX}", sections.len());
        zone.report(zone.line, "access", text);
    }
    let total = sections.len();
    let places: Vec<_> = sections.iter().map(|section| (section.line, section.path.clone())).collect();
    let read = sections.into_iter().enumerate().filter_map(|(at, section)| rule(at, section, more_methods));
    let rules = Rules::new(read.collect());
    // A rule that could not be read is reported; without it, what shadows what cannot be known.
    if rules.list().len() == total {
        for (at, (line, key)) in places.iter().enumerate() {
            let by: Vec<_> = rules.shadow(at).iter().map(|rule| spell(rule)).collect();
            if !by.is_empty() {
                let by = by.join(" and ");
                let text =
                    format!("is never reached: {by} above fits all that it fits. Put it above, or take it out");
                zone.report_key(*line, key, text);
            }
        }
    }
    rules
}

fn spell(rule: &Rule) -> String {
    match rule.line {
        0 => rule.name.to_string(),
        line => format!("{} (line {line})", rule.name),
    }
}

fn rule(at: usize, section: Section<'_>, more_methods: &[Method]) -> Option<Rule> {
    let path = path(&section);
    let methods = methods(&section, more_methods);
    let allow = allow(&section);
    let name = name(&section).unwrap_or_else(|| format!("access[{at}]"));
    let line = section.line;
    section.finish();
    Some(Rule { name: name.into(), line, path: path?, methods, allow: allow? })
}

fn name(section: &Section<'_>) -> Option<String> {
    let scalar = section.scalar("name")?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ');
    if scalar.text.is_empty() || scalar.text.len() > NAME_BYTES_MAX || !scalar.text.chars().all(plain) {
        let text = format!(
            "{:?} is no name for logs: take at most {NAME_BYTES_MAX} letters, digits, spaces and - _ .",
            scalar.text
        );
        section.report_at(&scalar, text);
    }
    Some(scalar.text.to_owned())
}

fn path(section: &Section<'_>) -> Option<PathPattern> {
    let (exact, below) = (section.scalar("path"), section.scalar("below"));
    let (scalar, pattern) = match (&exact, &below) {
        (Some(exact), None) => (exact, PathPattern::exact(exact.text)),
        (None, Some(below)) => (below, PathPattern::below(below.text)),
        (None, None) => {
            let text = "is missing: give path for one path alone, or below for a path and everything below it";
            section.report(section.line, "path", text);
            return None;
        }
        (Some(_), Some(below)) => {
            section.report_at(below, "and path are given: choose one of them");
            return None;
        }
    };
    pattern.map_err(|problem| section.report_at(scalar, format!("{:?} {problem}", scalar.text))).ok()
}

fn methods(section: &Section<'_>, more_methods: &[Method]) -> Vec<Method> {
    let given = section.scalars("methods");
    let method = |scalar: &Scalar<'_>| {
        let known = scalar.text.parse::<Method>().ok();
        let known = known.filter(|method| COMMON_METHODS.contains(method) || more_methods.contains(method));
        if known.is_none() {
            let text = format!(
                "{:?} is not a method that the zone passes on, like GET; others are named in its more_methods",
                scalar.text
            );
            section.report_at(scalar, text);
        }
        known
    };
    let methods: Vec<_> = given.iter().filter_map(method).collect();
    if given.is_empty() && section.has("methods") {
        section.report(section.line, "methods", "names no method: leave it out for all of them");
    }
    methods
}

fn allow(section: &Section<'_>) -> Option<Allow> {
    let allow = section.scalar("allow");
    let groups = named(section, "groups").iter().map(|scalar| scalar.text.to_owned()).collect();
    let kinds = kinds(section);
    let members = Members { groups, kinds };
    let Some(scalar) = allow else {
        if members == Members::default() {
            if !section.has("groups") && !section.has("kinds") {
                let text = format!("is missing: one of {}, or name groups or kinds", known());
                section.report(section.line, "allow", text);
            }
            return None;
        }
        return Some(Allow::Members(members));
    };
    if members != Members::default() {
        section.report_at(&scalar, "and groups or kinds are given: these need a session already, leave allow out");
    }
    let found = ALLOWED.into_iter().find(|(name, _)| *name == scalar.text).map(|(_, allow)| allow);
    if found.is_none() {
        section.report_at(&scalar, format!("{:?} is none of {}", scalar.text, known()));
    }
    found
}

fn known() -> String {
    ALLOWED.map(|(name, _)| name).join(", ")
}

fn kinds(section: &Section<'_>) -> Vec<&'static str> {
    let kind = |scalar: &Scalar<'_>| {
        let kind = UserKind::from_name(scalar.text);
        if kind.is_none() {
            let known = UserKind::ALL.map(UserKind::name).join(", ");
            section.report_at(scalar, format!("{:?} is none of {known}", scalar.text));
        }
        kind.map(UserKind::name)
    };
    named(section, "kinds").iter().filter_map(kind).collect()
}

fn named<'a>(section: &Section<'a>, key: &str) -> Vec<Scalar<'a>> {
    let given = section.scalars(key);
    if given.is_empty() && section.has(key) {
        section.report(section.line, key, "names nobody: for a rule that lets nobody through, say allow: deny");
    }
    given
}
