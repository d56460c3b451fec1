//! What Countersign keeps.
