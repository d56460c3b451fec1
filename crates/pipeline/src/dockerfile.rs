//! Reading a Dockerfile just far enough to know its base images, and writing it again with every
//! base pinned to a digest.
//!
//! What could bring in bytes that nobody checked is refused, with what to write instead: images
//! named in `COPY --from` or `RUN --mount`, `ADD` of a URL, shared caches, and syntax on which
//! our reading and the builder's could differ. The builder is told to admit only the pinned
//! digests as well, so a difference that we missed ends in a refusal, not in an unchecked base.
//!
//! Dockerfile reference, as of BuildKit 1.7 and containerfile(5).

use std::collections::BTreeMap;

/// The largest Dockerfile, in bytes. Ours to choose; the largest official ones have 30 KiB.
pub const MAX_DOCKERFILE_BYTES: usize = 256 * 1024;
/// The most `FROM` lines. Ours to choose; the largest official ones have about ten.
pub const MAX_STAGES: usize = 64;

const INSTRUCTIONS: &[&str] = &[
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

/// Says what in a Dockerfile is refused, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct DockerfileError {
    /// The line, from 1.
    pub line: usize,
    /// What is refused, and what to write instead.
    pub reason: String,
}

/// A Dockerfile, cut into instructions.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    instructions: Vec<Instruction>,
    bases: Vec<String>,
}

/// One instruction, its continued lines joined.
#[derive(Clone, Debug)]
struct Instruction {
    line: usize,
    /// The lines as they were written, comments in between left out.
    text: String,
    /// For a `FROM` of an image: what it is made of.
    from: Option<From>,
}

#[derive(Clone, Debug)]
struct From {
    flags: Vec<String>,
    image: String,
    stage: Option<String>,
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// If it is too large, malformed, or uses what is refused.
    pub fn parse(text: &str) -> Result<Self, DockerfileError> {
        if text.len() > MAX_DOCKERFILE_BYTES {
            let reason = format!("the file has more than {MAX_DOCKERFILE_BYTES} bytes");
            return Err(error(1, reason));
        }
        let mut reader = Reader::default();
        for (line, text) in logical_lines(text)? {
            reader.instruction(line, text)?;
        }
        if reader.stages.is_empty() {
            return Err(error(1, "there is no `FROM`"));
        }
        let mut bases = Vec::new();
        for from in reader.instructions.iter().filter_map(|i| i.from.as_ref()) {
            if !bases.contains(&from.image) {
                bases.push(from.image.clone());
            }
        }
        Ok(Self {
            instructions: reader.instructions,
            bases,
        })
    }

    /// Returns the names of the base images, each once, in order. `scratch` is none, and neither
    /// is an earlier stage.
    pub fn bases(&self) -> &[String] {
        &self.bases
    }

    /// Returns the file with every base replaced by what `pinned` holds for its name.
    ///
    /// # Errors
    /// If a base is missing from `pinned`.
    pub fn pin(&self, pinned: &BTreeMap<String, String>) -> Result<String, DockerfileError> {
        let mut text = String::new();
        for instruction in &self.instructions {
            match &instruction.from {
                None => text += &instruction.text,
                Some(from) => {
                    let image = pinned.get(&from.image).ok_or_else(|| {
                        let reason = format!("base image `{}` was not checked", from.image);
                        error(instruction.line, reason)
                    })?;
                    text += &from.with_image(image);
                }
            }
            text.push('\n');
        }
        Ok(text)
    }
}

impl From {
    fn with_image(&self, image: &str) -> String {
        let mut words = vec!["FROM"];
        words.extend(self.flags.iter().map(String::as_str));
        words.push(image);
        if let Some(stage) = &self.stage {
            words.extend(["AS", stage]);
        }
        words.join(" ")
    }
}

fn error(line: usize, reason: impl Into<String>) -> DockerfileError {
    DockerfileError {
        line,
        reason: reason.into(),
    }
}

/// Joins continued lines and leaves out comments, as the builders do before anything else.
fn logical_lines(text: &str) -> Result<Vec<(usize, String)>, DockerfileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, raw) in text.lines().enumerate() {
        let number = index + 1;
        let trimmed = raw.trim();
        if trimmed.starts_with('#') {
            refuse_escape_directive(number, trimmed)?;
            continue;
        }
        if trimmed.is_empty() {
            continue;
        }
        if let Some(bad) = raw.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(error(number, format!("control character {bad:?}")));
        }
        // Inside an instruction white space may mean something: only what joins lines goes.
        let (start, mut joined) = open.take().unwrap_or((number, String::new()));
        let written = match joined.is_empty() {
            true => trimmed,
            false => raw.trim_end(),
        };
        match written.strip_suffix('\\') {
            Some(head) => {
                joined += head;
                open = Some((start, joined));
            }
            None => {
                joined += written;
                lines.push((start, joined));
            }
        }
    }
    match open {
        Some((line, _)) => Err(error(
            line,
            "the last line is continued, but nothing follows",
        )),
        None => Ok(lines),
    }
}

/// Another escape character would make every continued line mean something else.
fn refuse_escape_directive(line: usize, comment: &str) -> Result<(), DockerfileError> {
    let directive = comment.trim_start_matches('#').trim().to_ascii_lowercase();
    match directive.split_once('=') {
        Some((name, value)) if name.trim() == "escape" && value.trim() != "\\" => Err(error(
            line,
            "the `escape` directive is not supported: continue lines with `\\`",
        )),
        _ => Ok(()),
    }
}

#[derive(Default)]
struct Reader {
    instructions: Vec<Instruction>,
    stages: Vec<Option<String>>,
    arguments: BTreeMap<String, String>,
}

impl Reader {
    fn instruction(&mut self, line: usize, text: String) -> Result<(), DockerfileError> {
        let (word, rest) = text
            .split_once(char::is_whitespace)
            .unwrap_or((text.as_str(), ""));
        let keyword = word.to_ascii_uppercase();
        if !INSTRUCTIONS.contains(&keyword.as_str()) {
            let word: String = word.chars().take(40).collect();
            return Err(error(line, format!("`{word}` is not an instruction")));
        }
        if self.stages.is_empty() && !matches!(keyword.as_str(), "FROM" | "ARG") {
            return Err(error(
                line,
                format!("`{keyword}` stands before the first `FROM`"),
            ));
        }
        let from = match keyword.as_str() {
            "FROM" => self.from(line, rest)?,
            other => {
                self.check(line, other, rest)?;
                None
            }
        };
        self.instructions.push(Instruction { line, text, from });
        Ok(())
    }

    fn check(&mut self, line: usize, keyword: &str, rest: &str) -> Result<(), DockerfileError> {
        match keyword {
            "ARG" if self.stages.is_empty() => self.argument(rest),
            "ONBUILD" => {
                let (word, rest) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
                self.check(line, &word.to_ascii_uppercase(), rest)?;
            }
            "COPY" => self.copy(line, rest)?,
            "ADD" => {
                self.copy(line, rest)?;
                if rest.contains("://") || rest.contains('$') || rest.contains("git@") {
                    let reason = "`ADD` of a URL or a variable brings in bytes that nobody \
                                  checked: put the file into the source and `COPY` it";
                    return Err(error(line, reason));
                }
            }
            "RUN" => self.run(line, rest)?,
            _ => {}
        }
        Ok(())
    }

    fn argument(&mut self, rest: &str) {
        for word in rest.split_whitespace() {
            if let Some((name, value)) = word.split_once('=') {
                let value = value.trim_matches(['"', '\'']).to_owned();
                self.arguments.insert(name.to_owned(), value);
            }
        }
    }

    fn from(&mut self, line: usize, rest: &str) -> Result<Option<From>, DockerfileError> {
        if self.stages.len() >= MAX_STAGES {
            return Err(error(line, format!("more than {MAX_STAGES} stages")));
        }
        let (flags, words): (Vec<&str>, Vec<&str>) =
            rest.split_whitespace().partition(|w| w.starts_with("--"));
        let (image, stage) = match words[..] {
            [image] => (image, None),
            [image, keyword, stage] if keyword.eq_ignore_ascii_case("as") => (image, Some(stage)),
            _ => {
                return Err(error(
                    line,
                    "expected `FROM image` or `FROM image AS stage`",
                ));
            }
        };
        if let Some(flag) = flags.iter().find(|flag| !flag.starts_with("--platform=")) {
            return Err(error(line, format!("`{flag}` of `FROM` is not supported")));
        }
        let image = self.substitute(line, image)?;
        let known = self.is_stage(&image);
        self.stages.push(stage.map(str::to_ascii_lowercase));
        if image == "scratch" || known {
            return Ok(None);
        }
        Ok(Some(From {
            flags: flags.into_iter().map(str::to_owned).collect(),
            image,
            stage: stage.map(str::to_owned),
        }))
    }

    /// Replaces `$NAME` and `${NAME}` by the defaults of `ARG` lines before the first `FROM`.
    fn substitute(&self, line: usize, text: &str) -> Result<String, DockerfileError> {
        let mut parts = text.split('$');
        let mut result = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            let (name, tail) = match part.strip_prefix('{') {
                Some(braced) => braced.split_once('}').unwrap_or((braced, "")),
                None => part.split_at(part.find(|c| !word(c)).unwrap_or(part.len())),
            };
            let value = self.arguments.get(name).ok_or_else(|| {
                let reason = format!(
                    "`FROM` uses `${{{name}}}`, which no `ARG {name}=…` above it defines: name the image itself"
                );
                error(line, reason)
            })?;
            result += value;
            result += tail;
        }
        if result.contains('$') {
            return Err(error(line, "`FROM` uses a variable inside a variable"));
        }
        Ok(result)
    }

    fn is_stage(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.stages.iter().flatten().any(|stage| *stage == name)
    }

    fn copy(&self, line: usize, rest: &str) -> Result<(), DockerfileError> {
        refuse_heredoc(line, rest)?;
        for flag in flags(rest) {
            if let Some(from) = flag.strip_prefix("--from=") {
                self.stage_only(line, "COPY --from", from)?;
            }
        }
        Ok(())
    }

    fn run(&self, line: usize, rest: &str) -> Result<(), DockerfileError> {
        refuse_heredoc(line, rest)?;
        for flag in flags(rest) {
            let Some(mount) = flag.strip_prefix("--mount=") else {
                let name = flag.split('=').next().unwrap_or(flag);
                let reason = format!("`{name}` of `RUN` is not supported: the build decides it");
                return Err(error(line, reason));
            };
            for option in mount.trim_matches(['"', '\'']).split(',') {
                match option.split_once('=') {
                    Some(("from", from)) => self.stage_only(line, "RUN --mount", from)?,
                    Some(("type", "bind" | "tmpfs")) | None => {}
                    Some(("type", kind)) => {
                        let reason = format!(
                            "`RUN --mount` of type `{kind}` is not supported: builds share nothing"
                        );
                        return Err(error(line, reason));
                    }
                    Some(_) => {}
                }
            }
        }
        Ok(())
    }

    fn stage_only(&self, line: usize, what: &str, from: &str) -> Result<(), DockerfileError> {
        let from = from.trim_matches(['"', '\'']);
        let numbered = from.parse::<usize>().is_ok_and(|n| n < self.stages.len());
        if numbered || self.is_stage(from) {
            return Ok(());
        }
        let reason = format!(
            "`{what}` names `{from}`, which is not an earlier stage: add `FROM {from} AS …` so that it is checked"
        );
        Err(error(line, reason))
    }
}

fn flags(rest: &str) -> impl Iterator<Item = &str> {
    rest.split_whitespace().take_while(|w| w.starts_with("--"))
}

fn refuse_heredoc(line: usize, rest: &str) -> Result<(), DockerfileError> {
    let is_heredoc = |word: &str| {
        let tail = word
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .strip_prefix("<<");
        tail.is_some_and(|t| !t.starts_with('<'))
    };
    if rest.split_whitespace().any(is_heredoc) {
        return Err(error(
            line,
            "here-documents are not supported: use a file of the source",
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bases_are_found_once_and_stages_and_scratch_are_none() {
        let text = "# syntax=docker/dockerfile:1\n\
                    ARG VERSION=12\n\
                    from base/python:${VERSION} AS Build\n\
                    RUN one \\\n  # a comment inside\n  && two\n\
                    FROM scratch AS empty\n\
                    FROM build\n\
                    FROM --platform=linux/amd64 base/python:$VERSION\n\
                    COPY --from=build /a /a\n\
                    COPY --from=1 /b /b\n";
        let file = Dockerfile::parse(text).unwrap();
        assert_eq!(file.bases(), ["base/python:12"]);
        let pinned = BTreeMap::from([("base/python:12".to_owned(), "r/base@sha256:0".to_owned())]);
        insta::assert_snapshot!(file.pin(&pinned).unwrap(), @r"
        ARG VERSION=12
        FROM r/base@sha256:0 AS Build
        RUN one   && two
        FROM scratch AS empty
        FROM build
        FROM --platform=linux/amd64 r/base@sha256:0
        COPY --from=build /a /a
        COPY --from=1 /b /b
        ");
    }

    #[test]
    fn what_brings_in_unchecked_bytes_is_refused_with_its_line() {
        for (instruction, reason) in [
            ("COPY --from=other/image /a /a", "not an earlier stage"),
            ("COPY --chown=1 --from=2 /a /a", "not an earlier stage"),
            ("ADD https://example.com/x /x", "`ADD` of a URL"),
            ("ADD $URL /x", "`ADD` of a URL"),
            ("ADD [\"git@example.com:x.git\", \"/x\"]", "`ADD` of a URL"),
            (
                "RUN --mount=type=bind,from=other,target=/x true",
                "not an earlier stage",
            ),
            ("RUN --mount=type=cache,target=/x true", "type `cache`"),
            ("RUN --network=host true", "`--network` of `RUN`"),
            ("RUN --security=insecure true", "`--security` of `RUN`"),
            ("RUN \\\n --network=host true", "`--network` of `RUN`"),
            ("ONBUILD ADD https://example.com/x /x", "`ADD` of a URL"),
            ("RUN <<EOF", "here-documents"),
            ("COPY <<EOF /x", "here-documents"),
            ("INCLUDE x", "not an instruction"),
            ("FROM a b", "expected `FROM"),
            ("FROM $UNKNOWN", "no `ARG UNKNOWN"),
            ("FROM ${A:-b}", "no `ARG A:-b"),
            ("RUN a \\", "nothing follows"),
            ("RUN a\u{1b}[2J", "control character"),
        ] {
            let error = Dockerfile::parse(&format!("FROM scratch\n{instruction}\n")).unwrap_err();
            assert!(error.reason.contains(reason), "{instruction}: {error}");
            assert_eq!(error.line, 2, "{instruction}");
        }
    }

    #[test]
    fn a_file_needs_a_base_first() {
        for text in ["", "# only a comment", "ARG X=1", "RUN true\nFROM scratch"] {
            assert!(Dockerfile::parse(text).is_err(), "{text}");
        }
        assert!(Dockerfile::parse("# escape=`\nFROM scratch").is_err());
        assert!(Dockerfile::parse("# escape=\\\nFROM scratch").is_ok());
    }

    #[test]
    fn a_shell_redirection_is_not_a_here_document() {
        assert!(Dockerfile::parse("FROM scratch\nRUN cat <<< word").is_ok());
    }

    #[test]
    fn a_base_that_was_not_checked_is_never_written() {
        let file = Dockerfile::parse("FROM a/b:1").unwrap();
        let error = file.pin(&BTreeMap::new()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "line 1: base image `a/b:1` was not checked"
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused_and_what_is_written_reads_the_same(
            text in "(FROM [a-z:$/]{1,6}( AS [a-z]{1,3})?|RUN [ -~]{0,20}|COPY [ -~]{0,20}|[ -~\\\\#]{0,20}|\n){0,12}"
        ) {
            if let Ok(file) = Dockerfile::parse(&text) {
                let pinned = file.bases().iter().map(|b| (b.clone(), b.clone())).collect();
                let again = Dockerfile::parse(&file.pin(&pinned).unwrap()).unwrap();
                prop_assert_eq!(again.bases(), file.bases());
            }
        }
    }
}
