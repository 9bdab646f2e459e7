//! A random mix of everything, from a seed.
