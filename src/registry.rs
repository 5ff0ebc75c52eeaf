//! Agent files → Registry.
