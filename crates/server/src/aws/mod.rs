//! AWS in front: requests signed with AWS Signature Version 4, answered by our own signer.

pub mod ecr;
pub mod sigv4;
