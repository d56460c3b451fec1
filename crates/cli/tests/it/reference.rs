//! `docs/reference/commands.md` is what the help says, for every command there is.

use std::path::Path;

use crate::environment::TestEnvironment;

/// The deepest nesting of commands, such as `trust policy import`.
const MAX_DEPTH: usize = 3;

#[test]
fn the_reference_is_what_the_help_says() {
    let environment = TestEnvironment::new();
    let mut text = String::from(
        "# Commands\n\nThis page is written by a test of the binary, from the help of each command.\n",
    );
    add(&environment, &mut Vec::new(), &mut text);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/commands.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    if written != text {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        panic!("docs/reference/commands.md was out of date; it was written anew: commit it");
    }
}

/// Adds the help of one command, and of those below it.
fn add(environment: &TestEnvironment, command: &mut Vec<String>, text: &mut String) {
    let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    arguments.push("--help");
    let help = environment.run(&arguments);
    let help = help.strip_prefix("exit 0\n").unwrap();
    let name = ["countersign".to_owned(), command.join(" ")].join(" ");
    let name = name.trim_end();
    assert!(
        !help.starts_with("Usage:"),
        "`{name}` does not say what it does"
    );
    text.push_str(&format!(
        "\n## {name}\n\n```text\n{}\n```\n",
        shortened(help, command)
    ));
    if command.len() < MAX_DEPTH {
        for below in subcommands(help) {
            command.push(below);
            add(environment, command, text);
            command.pop();
        }
    }
}

/// Leaves out the common options below the first page, which has them.
fn shortened(help: &str, command: &[String]) -> String {
    let end = match command {
        [] => help.len(),
        _ => help.find("Common options:").unwrap_or(help.len()),
    };
    let lines = help[..end].trim_end().lines().map(str::trim_end);
    lines.collect::<Vec<_>>().join("\n")
}

fn subcommands(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        return Vec::new();
    };
    let names = list.lines().take_while(|line| !line.is_empty());
    names
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}
