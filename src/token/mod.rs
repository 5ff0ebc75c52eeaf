//! Access tokens: claims, signing, verification and the rotation of the keys.

pub mod settings;
