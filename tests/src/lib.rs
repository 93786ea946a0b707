//! Integration tests live in `all/`; this crate has no code of its own.
