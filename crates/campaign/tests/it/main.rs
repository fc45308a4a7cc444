//! The platform as a whole: what holds whatever is done to it.

mod walk;
