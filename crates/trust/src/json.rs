//! JSON read strictly: no member twice, nothing after the value, bounded depth.
//!
//! Two readers that take different members of the same document are a hole (one of them is the
//! reference implementation, which is case-insensitive and takes the last), so a document that
//! could be read in two ways is refused (R026). serde refuses a known member that is given twice,
//! but not an unknown one; this reader sees all.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error as _, MapAccess, SeqAccess, Visitor};
use serde::{Deserializer, de};
use serde_json::{Map, Value};

/// The deepest nesting of arrays and objects that is read: no document of ours is deeper than 20;
/// serde_json itself stops at 128.
pub(crate) const MAX_DEPTH: usize = 64;

/// Reads a document into `T`, having checked that no object in it has a member twice.
pub(crate) fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    check(bytes)?;
    serde_json::from_slice(bytes)
}

/// Checks that a document is JSON that can be read in one way only.
pub(crate) fn check(bytes: &[u8]) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    Unique { depth: 0 }.deserialize(&mut reader)?;
    reader.end()
}

/// Returns the members of an object. Derived readers would take a list of the same length for it.
pub(crate) fn object(value: &Value) -> Result<&Map<String, Value>, serde_json::Error> {
    let refused = || serde_json::Error::custom("expected an object");
    value.as_object().ok_or_else(refused)
}

/// Returns a member whose name differs from a known one only in upper and lower case, which
/// another reader may take for the known one.
pub(crate) fn case_variant<'a>(members: &'a Map<String, Value>, known: &[&str]) -> Option<&'a str> {
    members.keys().map(String::as_str).find(|name| {
        !known.contains(name) && known.iter().any(|one| one.eq_ignore_ascii_case(name))
    })
}

#[derive(Clone, Copy)]
struct Unique {
    depth: usize,
}

impl Unique {
    fn deeper<E: de::Error>(self) -> Result<Self, E> {
        if self.depth >= MAX_DEPTH {
            return Err(E::custom(format_args!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(Self {
            depth: self.depth + 1,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        while items.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let inner = self.deeper()?;
        let mut seen = HashSet::new();
        while let Some(name) = members.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                let shown: String = name.chars().take(80).collect();
                return Err(A::Error::custom(format_args!(
                    "member `{shown}` is given twice"
                )));
            }
            members.next_value_seed(inner)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_that_can_be_read_in_two_ways_are_refused() {
        let deep = "[".repeat(65) + &"]".repeat(65);
        for bad in [
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"\u0061":1}"#,
            r#"{"x":[{"b":{"c":1,"c":2}}]}"#,
            r#"{"a":1} {"#,
            r#"{"a":1}]"#,
            r#"{"a":1,}"#,
            "",
            "\u{feff}{}",
            &deep,
        ] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        for good in [
            r#"{"a":{"b":1},"c":{"b":[1,2.5,null,"x",true,-1]}}"#,
            " {}\n",
        ] {
            assert!(check(good.as_bytes()).is_ok(), "{good}");
        }
    }
}
