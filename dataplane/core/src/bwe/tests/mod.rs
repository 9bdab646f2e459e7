//! The real estimator and pacer on a model of a path, in virtual time and from a seed.

pub(super) mod feedback;
