//! The positions of a document's members, by path.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

type Position = (u64, u64);

/// Where each member of a document stands.
#[derive(Debug, Default)]
pub(super) struct Tree {
    members: Vec<(String, Position)>,
    by_path: BTreeMap<String, Position>,
    /// Where each mapping begins, the outermost first.
    mappings: BTreeMap<Position, String>,
}

impl Tree {
    /// Reads the positions, or `None` if the text is not YAML.
    pub(super) fn read(text: &str) -> Option<Self> {
        let root: Spanned<Node> =
            serde_saphyr::from_str_with_options(text, super::options()).ok()?;
        let mut tree = Self::default();
        tree.add(String::new(), &root);
        tree.members.sort_by_key(|(_, position)| *position);
        Some(tree)
    }

    /// Returns where the member `path` stands, or the nearest member that holds it.
    pub(super) fn position(&self, path: &str) -> Option<Position> {
        let mut path = path;
        loop {
            if let Some(position) = self.by_path.get(path) {
                return Some(*position);
            }
            if path.is_empty() {
                return None;
            }
            path = path.rfind(['.', '[']).map_or("", |end| &path[..end]);
        }
    }

    /// Returns the path of the member that stands at `position`, or last before it.
    pub(super) fn member_at(&self, position: Position) -> String {
        let after = self.members.partition_point(|(_, at)| *at <= position);
        match after.checked_sub(1) {
            Some(last) => self.members[last].0.clone(),
            None => String::new(),
        }
    }

    /// Returns the path of the mapping that begins at `position`, or of the member that stands
    /// there or last before it.
    pub(super) fn value_at(&self, position: Position) -> String {
        let mapping = self.mappings.get(&position);
        mapping.cloned().unwrap_or_else(|| self.member_at(position))
    }

    /// Returns the path of the mapping that lacks a member, when reading stopped at `position`: the
    /// one that begins there, or the one around the last member.
    pub(super) fn mapping_at(&self, position: Position) -> String {
        if let Some(path) = self.mappings.get(&position) {
            return path.clone();
        }
        let path = self.member_at(position);
        let end = path.rfind(['.', '[']).unwrap_or(0);
        path[..end].to_owned()
    }

    fn add(&mut self, path: String, node: &Spanned<Node>) {
        let at = (node.referenced.line(), node.referenced.column());
        self.put(path.clone(), at);
        match &node.value {
            Node::Scalar => {}
            Node::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.add(format!("{path}[{index}]"), item);
                }
            }
            Node::Map(entries) => {
                self.mappings.entry(at).or_insert_with(|| path.clone());
                for (key, value) in entries {
                    let path = match path.as_str() {
                        "" => key.value.clone(),
                        _ => format!("{path}.{}", key.value),
                    };
                    // The key stands for the member: for a missing value, and for an unknown name.
                    let at = (key.referenced.line(), key.referenced.column());
                    self.members.push((path.clone(), at));
                    self.add(path, value);
                }
            }
        }
    }

    fn put(&mut self, path: String, at: Position) {
        self.members.push((path.clone(), at));
        self.by_path.insert(path, at);
    }
}

enum Node {
    Scalar,
    List(Vec<Spanned<Node>>),
    Map(Vec<(Spanned<String>, Spanned<Node>)>),
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! scalars {
    ($($method:ident: $type:ty),*) => {
        $(fn $method<E>(self, _: $type) -> Result<Node, E> {
            Ok(Node::Scalar)
        })*
    };
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    scalars!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Node, D::Error> {
        IgnoredAny::deserialize(inner).map(|_| Node::Scalar)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}
