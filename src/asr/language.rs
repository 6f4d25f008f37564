//! The language of a recording from several windows. Pure.
