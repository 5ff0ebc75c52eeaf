//! JSON as strictly as a credential deserves: one pass, no member twice at any level, bounded depth.
//!
//! Two readers of one token must never see two tokens. serde_json keeps the last of two equal
//! members, others keep the first; readers that ignore case take `Exp` for `exp`.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

/// Deeper than any issuer nests (Kubernetes: 3), shallower than any stack minds.
const MAX_DEPTH: u8 = 16;

/// One JSON value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    Integer(i64),
    /// Finite; an integer beyond `i64` too.
    Float(f64),
    String(String),
    Array(Vec<Json>),
    Object(Object),
}

/// A JSON object without repeated members, in the order in which they were written.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Object(Vec<(String, Json)>);

/// Why a text is not such an object. Says nothing of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadJson {
    Syntax,
    TooDeep,
    /// Which member it has twice, where the caller knows that name.
    Repeated(Option<&'static str>),
    NotAnObject,
}

impl BadJson {
    fn of(error: &serde_json::Error, names: &[&'static str]) -> Self {
        let text = error.to_string();
        if text.starts_with(DEEP) {
            return Self::TooDeep;
        }
        let Some(rest) = text.strip_prefix(TWICE) else { return Self::Syntax };
        // serde_json adds line and column behind it.
        let is_it = |name: &&&str| rest.strip_prefix(**name).is_some_and(|rest| rest.starts_with('\n'));
        Self::Repeated(names.iter().find(is_it).copied())
    }
}

/// How the errors of reading begin; the name of the repeated member and the end of the line follow the second.
const DEEP: &str = "nested too deeply";
const TWICE: &str = "a member is repeated: ";

impl Object {
    /// Reads `bytes` (UTF-8) as exactly one object, nothing after it. An error may name the members in `names`.
    pub(super) fn parse(bytes: &[u8], names: &[&'static str]) -> Result<Self, BadJson> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let value =
            Strict { depth: 0 }.deserialize(&mut reader).map_err(|error| BadJson::of(&error, names))?;
        reader.end().map_err(|_| BadJson::Syntax)?;
        match value {
            Json::Object(object) => Ok(object),
            _ => Err(BadJson::NotAnObject),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Json> {
        self.0.iter().find_map(|(member, value)| (member == name).then_some(value))
    }

    /// Which of `names` a member is to a reader that ignores case, but not exactly.
    pub(super) fn case_variant_of(&self, names: &[&'static str]) -> Option<&'static str> {
        if self.is_plain() {
            return None;
        }
        self.0.iter().find_map(|(member, _)| {
            let folded = fold(member);
            names.iter().find(|name| folded == **name && member != *name).copied()
        })
    }

    /// Whether two members differ by case alone.
    pub(super) fn has_case_twins(&self) -> bool {
        if self.is_plain() {
            return false;
        }
        let mut folded: Vec<String> = self.0.iter().map(|(member, _)| fold(member)).collect();
        folded.sort_unstable();
        folded.windows(2).any(|pair| pair[0] == pair[1])
    }

    /// Whether every name is lower-case ASCII, as most tokens' are: then none differs from another, or
    /// from a lower-case name, by case alone, and nothing need be folded.
    fn is_plain(&self) -> bool {
        self.0.iter().all(|(name, _)| name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    pub(super) fn into_members(self) -> impl Iterator<Item = (String, Json)> {
        self.0.into_iter()
    }
}

/// As readers that ignore case compare names. Up, then down: `ſ` (U+017F) only meets `s` on the way
/// up, `K` (U+212A) only meets `k` on the way down, and Go's encoding/json takes both.
fn fold(name: &str) -> String {
    if name.is_ascii() { name.to_ascii_lowercase() } else { name.to_uppercase().to_lowercase() }
}

#[derive(Clone, Copy)]
struct Strict {
    depth: u8,
}

impl Strict {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(DEEP));
        }
        Ok(Self { depth: self.depth + 1 })
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Json;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Json, E> {
        // What a float loses here is beyond the range of every claim.
        Ok(i64::try_from(value).map_or(Json::Float(value as f64), Json::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Json, A::Error> {
        let inner = self.deeper()?;
        let mut object = Vec::with_capacity(16);
        while let Some(name) = members.next_key::<String>()? {
            object.push((name, members.next_value_seed(inner)?));
        }
        refuse_repeated(&object)?;
        Ok(Json::Object(Object(object)))
    }
}

/// Sorts, for a quadratic search would let 16 KiB of `"":0` cost millions of comparisons.
fn refuse_repeated<E: Error>(object: &[(String, Json)]) -> Result<(), E> {
    let mut names: Vec<&str> = object.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(E::custom(format_args!("{TWICE}{}\n", pair[0]))),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
