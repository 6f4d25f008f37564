//! See the module docs of `models`.
