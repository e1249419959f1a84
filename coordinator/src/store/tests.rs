//! The store as a whole: opening, reopening, and what must be refused.
