//! What Countersign asks of others.
