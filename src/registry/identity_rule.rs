//! `[[identity]]`: how an agent proves to be itself, and whether that is proof enough.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::document::{Field, Located, Mistakes, Table, nearest};
use crate::domain::agent::IdentityRule;
use crate::domain::id::IssuerName;
use crate::domain::key::PublicKey;
use crate::domain::pattern::ClaimPattern;
use crate::domain::platform::Platform;
use crate::registry::{Rules, platforms, spiffe_rule};

/// Claims that say how a workload runs and not which one it is: anyone's workload can have these values.
const CIRCUMSTANCES: &[&str] = &[
    "actor",
    "actor_id",
    "aud",
    "base_ref",
    "deployment_tier",
    "environment",
    "environment_protected",
    "event_name",
    "head_ref",
    "iss",
    "pipeline_source",
    "project_visibility",
    "ref",
    "ref_path",
    "ref_protected",
    "ref_type",
    "repository_visibility",
    "run_attempt",
    "run_number",
    "runner_environment",
    "sha",
    "workflow",
];

/// What some issuers' values begin with whoever the workload is, and how many whole segments must follow
/// before a star for the value to name somebody. Any other value needs two segments.
const CONSTANT_BEGINNINGS: &[(&str, usize)] =
    &[("system:serviceaccount:", 1), ("https://", 2), ("http://", 2)];

/// Reads one `[[identity]]`.
pub(super) fn read(table: &Table<'_>, rules: &Rules, mistakes: &Mistakes) -> Option<Located<IdentityRule>> {
    let issuer = table.key("issuer", "\"github\"");
    let claims = table.key("claims", "{ repository_id = \"456789\", ref = \"refs/heads/main\" }");
    let key = table.key("key", "{ kty = \"OKP\", crv = \"Ed25519\", x = \"…\" }");
    let spiffe = table.key("spiffe", "\"spiffe://acme.internal/agents/payments-refactorer\"");
    let alone = |name: &str, others: &[&Field<'_>]| {
        for extra in others.iter().filter(|field| field.is_present()) {
            let remedy = format!("write one [[identity]] with {name}, and another for the rest");
            mistakes.add(extra.place(), format!("does not go together with `{name}`"), remedy);
        }
    };
    let rule = if key.is_present() {
        alone("key", &[&issuer, &claims, &spiffe]);
        IdentityRule::Key(public_key(&key.table()?, mistakes)?)
    } else if spiffe.is_present() {
        alone("spiffe", &[&issuer, &claims]);
        spiffe_rule::read(spiffe, rules, mistakes)?
    } else if issuer.is_present() || claims.is_present() {
        let issuer = issuer_name(issuer.required(), rules, mistakes);
        let platform = issuer.as_ref().and_then(|name| rules.platform(name));
        let claims = claim_rules(claims.required(), platform, mistakes);
        IdentityRule::Claims { issuer: issuer?, claims: claims? }
    } else {
        let remedy = "write issuer and claims, or spiffe, or key";
        mistakes.add(&table.place(), "names no workload", remedy);
        return None;
    };
    Some(Located { value: rule, place: table.place() })
}

fn issuer_name(field: Field<'_>, rules: &Rules, mistakes: &Mistakes) -> Option<IssuerName> {
    let issuer = field.parse::<IssuerName>()?;
    let Some(known) = &rules.issuers else { return Some(issuer.value) };
    if !known.contains_key(&issuer.value) {
        let remedy = match nearest(issuer.value.as_str(), known.keys().map(IssuerName::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "configure it as [[issuer]]".to_owned(),
            None => {
                let names: Vec<&str> = known.keys().map(IssuerName::as_str).collect();
                format!("configure it as [[issuer]], or write one of {}", names.join(", "))
            }
        };
        mistakes.add(&issuer.place, format!("no issuer is configured as `{}`", issuer.value), remedy);
        return None;
    }
    Some(issuer.value)
}

fn claim_rules(
    field: Field<'_>,
    platform: Option<Platform>,
    mistakes: &Mistakes,
) -> Option<BTreeMap<String, ClaimPattern>> {
    let remedy = field.remedy();
    let place = field.place().clone();
    let fields = field.table()?.fields("\"the value, as a string\"");
    if fields.is_empty() {
        mistakes.add(&place, "is empty, so every workload of the issuer would match", remedy);
        return None;
    }
    let count = fields.len();
    let rules: BTreeMap<String, Located<ClaimPattern>> =
        fields.into_iter().filter_map(|field| claim_rule(field, mistakes)).collect();
    if rules.len() < count {
        return None;
    }
    // A platform's own reasons are told rather than the general one, and none where it is not known which.
    if platform.is_some_and(|platform| !platforms::are_safe(platform, &rules, &place, mistakes)) {
        return None;
    }
    let rules: BTreeMap<String, ClaimPattern> =
        rules.into_iter().map(|(name, pattern)| (name, pattern.value)).collect();
    if !rules.iter().any(|(name, pattern)| names_somebody(name, pattern)) {
        let only = rules.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let problem = format!("is too broad: {only} would match workloads of strangers");
        let remedy = "add a claim that names the workload exactly, such as repository_id or sub";
        mistakes.add(&place, problem, remedy);
        return None;
    }
    Some(rules)
}

fn claim_rule(field: Field<'_>, mistakes: &Mistakes) -> Option<(String, Located<ClaimPattern>)> {
    let name = field.key().to_owned();
    if let Some(path) = field.dotted().first() {
        let problem = "is a table, because the dots of the claim's name stand unquoted";
        mistakes.add(field.place(), problem, format!("write \"{path}\" = \"…\", in quotes"));
        return None;
    }
    let pattern = field.parse::<ClaimPattern>()?;
    if let Some(sign) = regular_expression(pattern.value.as_str()) {
        let problem = format!("`{sign}` looks like a regular expression, which no policy here is");
        let remedy = "write the whole value; `*` stands for what lies between `:` and `/`";
        mistakes.add(&pattern.place, problem, remedy);
        return None;
    }
    if pattern.value.is_everything() {
        mistakes.add(&pattern.place, "matches every value", "write the value, or leave the claim out");
        return None;
    }
    Some((name, pattern))
}

/// What in `pattern` only means something in a regular expression.
pub(super) fn regular_expression(pattern: &str) -> Option<&'static str> {
    let dot_star = pattern.match_indices(".*").any(|(at, _)| {
        // `v1.*` is a glob: a dot, then anything. Where a dot could not stand, it was meant for any character.
        pattern[..at].chars().next_back().is_none_or(|before| matches!(before, '/' | ':' | '('))
    });
    let signs = [
        (pattern.starts_with('^'), "^"),
        (pattern.ends_with('$'), "$"),
        (pattern.contains("(?"), "(?"),
        (pattern.contains('|'), "|"),
        (dot_star, ".*"),
        (pattern.contains(".+"), ".+"),
    ];
    signs.iter().find(|(found, _)| *found).map(|(_, sign)| *sign)
}

/// Whether only a workload that the writer had in mind can have a claim of this value.
fn names_somebody(name: &str, pattern: &ClaimPattern) -> bool {
    if CIRCUMSTANCES.contains(&name) {
        return false;
    }
    if pattern.is_exact() {
        return true;
    }
    let text = pattern.prefix();
    let constant = CONSTANT_BEGINNINGS.iter().find(|(beginning, _)| text.starts_with(beginning));
    let (rest, needed) =
        constant.map_or((text, 2), |(beginning, needed)| (&text[beginning.len()..], *needed));
    let segments = rest.split([':', '/']);
    // The last is cut short by the star.
    let whole = segments.clone().count() - 1;
    segments.take(whole).filter(|segment| !segment.is_empty()).count() >= needed
}

/// A public JWK (RFC 7517 §4, RFC 7518 §6.2, RFC 8037 §2) of the kinds that agents may have.
fn public_key(table: &Table<'_>, mistakes: &Mistakes) -> Option<PublicKey> {
    if table.has("d") {
        let d = table.key("d", "\"\"");
        mistakes.add(
            d.place(),
            "this is a private key: anyone who read this file has it",
            "make a new one with `hallpass keygen` and write only what that prints for this file",
        );
    }
    let kty = table.key("kty", "\"OKP\"").required().text();
    let crv = table.key("crv", "\"Ed25519\"").required().text();
    let (x, y) = (table.key("x", "\"…\"").required(), table.key("y", "\"…\""));
    let (kty, crv) = (kty?, crv?);
    let length = match (kty.value.as_str(), crv.value.as_str()) {
        ("OKP", "Ed25519") | ("EC", "P-256") => 32,
        ("EC", "P-384") => 48,
        _ => {
            let remedy = "write kty OKP with crv Ed25519, or kty EC with crv P-256 or P-384";
            let problem = format!("{} with {} is not supported", kty.value, crv.value);
            mistakes.add(&crv.place, problem, remedy);
            return None;
        }
    };
    let y = if kty.value == "EC" {
        Some(coordinate(y.required(), length, mistakes))
    } else {
        if y.is_present() {
            mistakes.add(y.place(), "an OKP key has no y", "leave it out");
        }
        None
    };
    let x = coordinate(x, length, mistakes)?;
    let y = match y {
        Some(y) => Some(y?),
        None => None,
    };
    let key = PublicKey { kty: kty.value, crv: crv.value, x, y };
    if let Err(flaw) = key.check() {
        let remedy = "copy the public key as `hallpass keygen` prints it, or make a new one";
        mistakes.add(&table.place(), format!("the key {flaw}"), remedy);
        return None;
    }
    Some(key)
}

fn coordinate(field: Field<'_>, length: usize, mistakes: &Mistakes) -> Option<String> {
    let text = field.text()?;
    match URL_SAFE_NO_PAD.decode(&text.value) {
        Ok(bytes) if bytes.len() == length => Some(text.value),
        Ok(bytes) => {
            let problem = format!("holds {} bytes, where this curve has {length}", bytes.len());
            mistakes.add(&text.place, problem, "copy the public key whole");
            None
        }
        Err(_) => {
            let remedy = "copy the value as `hallpass keygen` prints it";
            mistakes.add(&text.place, "is not base64url without padding", remedy);
            None
        }
    }
}
