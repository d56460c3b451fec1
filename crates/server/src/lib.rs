//! Inbound HTTP and the process roles.
