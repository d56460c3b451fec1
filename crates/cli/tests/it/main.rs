//! Tests of the binary and of the house it lives in.

mod architecture;
