//! Proof → [`VerifiedIdentity`](crate::domain::identity::VerifiedIdentity).

pub mod settings;
