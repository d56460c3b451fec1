//! Trees with box drawing.

/// A line of text with lines below it. Foreign words in it must have been sanitised.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tree {
    text: String,
    children: Vec<Tree>,
}

impl Tree {
    /// Returns a tree of one line.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            children: Vec::new(),
        }
    }

    /// Adds `child` as the last below this line.
    pub(crate) fn push(&mut self, child: Tree) {
        self.children.push(child);
    }

    /// Returns the tree with `child` as the last below this line.
    #[allow(dead_code)]
    pub(crate) fn with(mut self, child: Tree) -> Self {
        self.push(child);
        self
    }

    /// Returns the drawing, one line each.
    pub(crate) fn draw(&self) -> String {
        let mut out = format!("{}\n", self.text);
        self.draw_children("", &mut out);
        out
    }

    fn draw_children(&self, indent: &str, out: &mut String) {
        for (position, child) in self.children.iter().enumerate() {
            let is_last = position + 1 == self.children.len();
            let (branch, below) = if is_last {
                ("└── ", "    ")
            } else {
                ("├── ", "│   ")
            };
            out.push_str(&format!("{indent}{branch}{}\n", child.text));
            child.draw_children(&format!("{indent}{below}"), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_are_drawn_with_boxes() {
        let tree = Tree::new("root")
            .with(Tree::new("a").with(Tree::new("a1")).with(Tree::new("a2")))
            .with(Tree::new("b").with(Tree::new("b1")));
        insta::assert_snapshot!(tree.draw(), @r"
        root
        ├── a
        │   ├── a1
        │   └── a2
        └── b
            └── b1
        ");
    }
}
