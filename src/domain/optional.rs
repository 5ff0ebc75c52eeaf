//! Members of JSON that may be left out, and are not `null` where they are there.

use serde::{Deserialize, Deserializer};

/// For `#[serde(default, deserialize_with = "present")]`.
///
/// # Errors
/// For `null`, which would else read as if the member were left out.
pub fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}
