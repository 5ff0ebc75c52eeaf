//! Listeners, extractors that are the authorization, thin handlers.

pub mod settings;
