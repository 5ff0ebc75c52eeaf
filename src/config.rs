//! `hallpass.toml` → Config.
