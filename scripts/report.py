#!/usr/bin/env python3
"""Prints function lengths (median, p90, over 60) and the ratio of test lines to source lines, per crate.

A function's length is from its signature to its closing brace. Test lines are those of `tests/`,
of `tests.rs`, and of inline `mod tests`. Text only: no figure here fails a build.
"""
import re
import statistics
from pathlib import Path

FUNCTION = re.compile(r"^(\s*)(?:pub(?:\([^)]*\))?\s+)?(?:const\s+)?(?:async\s+)?(?:unsafe\s+)?fn\s+\w")


def functions(lines):
    """Yields the length of each function: rustfmt puts the closing brace at the signature's indent."""
    for start, line in enumerate(lines):
        match = FUNCTION.match(line)
        if not match:
            continue
        end = re.compile("^" + match.group(1) + r"\}")
        for at in range(start, len(lines)):
            if lines[at].rstrip().endswith(";") and at == start:
                break
            if end.match(lines[at]) or (at == start and line.rstrip().endswith("}")):
                yield at - start + 1
                break


def split(path, lines):
    """Returns (source lines, test lines) of one file."""
    if "tests" in path.parts or path.name == "tests.rs":
        return [], lines
    for at, line in enumerate(lines):
        if line.startswith("mod tests {"):
            return lines[: at - 1], lines[at - 1 :]
    return lines, []


def main():
    print(f"{'crate':10} {'files':>5} {'source':>7} {'tests':>7} {'ratio':>6} {'fns':>5} {'median':>6} {'p90':>4} {'>60':>4}")
    for crate in sorted(Path("crates").iterdir()):
        lengths, source_lines, test_lines, files = [], 0, 0, 0
        for path in crate.rglob("*.rs"):
            source, tests = split(path, path.read_text().splitlines())
            files += bool(source)
            source_lines += len(source)
            test_lines += len(tests)
            lengths += functions(source)
        if not lengths:
            continue
        p90 = statistics.quantiles(lengths, n=10)[-1] if len(lengths) > 1 else lengths[0]
        long = sum(length > 60 for length in lengths)
        print(
            f"{crate.name:10} {files:5} {source_lines:7} {test_lines:7} {test_lines / max(source_lines, 1):6.2f} "
            f"{len(lengths):5} {statistics.median(lengths):6.0f} {p90:4.0f} {long:4}"
        )


main()
