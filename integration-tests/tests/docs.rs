//! What the documents say about the tree is so.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What a document quotes as code outside of fenced blocks: `like this`.
fn quoted(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut found = Vec::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            found.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    found
}

/// `a/{b,c}/d` stands for `a/b/d` and `a/c/d`.
fn expand(pattern: &str) -> Vec<String> {
    let Some((before, rest)) = pattern.split_once('{') else { return vec![pattern.to_owned()] };
    let (choices, after) = rest.split_once('}').expect("a closing brace");
    choices.split(',').flat_map(|choice| expand(&format!("{before}{}{after}", choice.trim()))).collect()
}

#[test]
fn every_path_that_the_architecture_names_exists() {
    let text = fs::read_to_string(top().join("docs/ARCHITECTURE.md")).unwrap();
    let paths: Vec<_> = quoted(&text)
        .into_iter()
        .filter(|quote| quote.contains('/') && !quote.contains([' ', '(']))
        .flat_map(|quote| expand(&quote))
        .collect();
    assert!(paths.len() > 5, "the test finds no paths any more: {paths:?}");
    let missing: Vec<_> = paths.iter().filter(|path| !top().join(path).exists()).collect();
    assert!(missing.is_empty(), "docs/ARCHITECTURE.md names what is not there: {missing:?}");
}

/// `path/to/file.rs: `one`, `two`; other.rs: `three``: the tests are in the files.
#[test]
fn every_test_that_the_threats_name_exists() {
    let text = fs::read_to_string(top().join("docs/threats.md")).unwrap();
    let (mut source, mut seen, mut missing) = (String::new(), 0, Vec::new());
    // Names are not in fenced blocks.
    for line in text.split("```").step_by(2).flat_map(str::lines) {
        for (part, quote) in line.split('`').enumerate() {
            if part % 2 == 0 {
                let file = quote.split([' ', '(']).filter_map(|word| word.strip_suffix(".rs:")).next_back();
                if let Some(file) = file {
                    source = fs::read_to_string(top().join(format!("{file}.rs"))).expect(file);
                }
            } else if !quote.contains(['/', ' ']) {
                seen += 1;
                if !source.contains(&format!("fn {quote}(")) {
                    missing.push(quote);
                }
            }
        }
    }
    assert!(seen > 60, "the test finds no names any more: {seen}");
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn every_setting_and_counter_that_the_limits_name_exists() {
    let text = fs::read_to_string(top().join("docs/limits.md")).unwrap();
    let names: Vec<_> = quoted(&text)
        .iter()
        .flat_map(|quote| quote.split(['.', ':', ' ', '(']).map(str::to_owned).collect::<Vec<_>>())
        .filter(|name| name.contains('_') && name.chars().all(|c| c.is_ascii_lowercase() || c == '_'))
        .collect();
    assert!(names.len() > 30, "the test finds no names any more: {names:?}");
    let sources: String = [
        "quic/src/config/*.rs",
        "quic/src/api/endpoint_stats.rs",
        "quic/src/proto/connection/stats.rs",
        "http3/src/server/mod.rs",
    ]
    .iter()
    .flat_map(|pattern| tracked(pattern))
    .map(|file| fs::read_to_string(top().join(file)).unwrap())
    .collect();
    let known = |name: &String| {
        sources.is_empty()
            || [format!("pub fn {name}("), format!("pub {name}:")].iter().any(|it| sources.contains(it))
    };
    let missing: Vec<_> = names.iter().filter(|name| !known(name)).collect();
    assert!(missing.is_empty(), "docs/limits.md names what is not there: {missing:?}");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut broken = Vec::new();
    for document in tracked("*.md") {
        let text = fs::read_to_string(top().join(&document)).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next()) {
            let target = top().join(&document).parent().unwrap().join(link);
            if !link.is_empty() && !link.contains("://") && !target.exists() {
                broken.push(format!("{document}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn no_source_file_is_longer_than_800_lines() {
    let long: Vec<_> = tracked("*.rs")
        .into_iter()
        .map(|file| (fs::read_to_string(top().join(&file)).unwrap_or_default().lines().count(), file))
        .filter(|(lines, _)| *lines > 800)
        .collect();
    assert!(long.is_empty(), "{long:?}");
}

/// Files under version control; none outside of a checkout.
fn tracked(pattern: &str) -> Vec<String> {
    let Ok(list) = Command::new("git").args(["ls-files", pattern]).current_dir(top()).output() else {
        return Vec::new();
    };
    String::from_utf8(list.stdout).unwrap().lines().map(str::to_owned).collect()
}
