//! Finds the lines `// covers: …` in the sources, and the tests that they stand above or in.

use std::{fs, path::Path};

use crate::read;

/// A test that says it shows a requirement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Test {
    pub(crate) requirement: String,
    /// From the top of the workspace.
    pub(crate) file: String,
    pub(crate) name: String,
}

/// All of them, in order, and complaints about lines that belong to no test.
pub(crate) fn tests(top: &Path) -> Result<(Vec<Test>, Vec<String>), String> {
    let (mut tests, mut complaints) = (Vec::new(), Vec::new());
    walk(top, &mut |path| {
        let file = path.strip_prefix(top).unwrap_or(path).to_string_lossy().replace('\\', "/");
        scan(&file, &read(path)?, &mut tests, &mut complaints);
        Ok(())
    })?;
    tests.sort();
    tests.dedup();
    complaints.sort();
    Ok((tests, complaints))
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path) -> Result<(), String>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries.flatten() {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && !name.starts_with('.') && name != "target" {
            walk(&path, visit)?;
        } else if !is_folder && name.ends_with(".rs") {
            visit(&path)?;
        }
    }
    Ok(())
}

/// Attributes and requirements above a function count for it; requirements above other code for the function around it.
fn scan(file: &str, text: &str, tests: &mut Vec<Test>, complaints: &mut Vec<String>) {
    let mut waiting: Vec<(usize, &str)> = Vec::new();
    let mut test_attribute = false;
    let mut around = None;
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(ids) = line.strip_prefix("// covers:") {
            waiting.extend(ids.split([',', ' ']).filter(|id| !id.is_empty()).map(|id| (number + 1, id)));
            continue;
        }
        if line.starts_with("#[") {
            test_attribute |= ["#[test]", "#[tokio::test"].iter().any(|test| line.starts_with(test));
        }
        if line.is_empty() || line.starts_with("#[") || line.starts_with("//") {
            continue;
        }
        if let Some(name) = function(line) {
            around = test_attribute.then_some(name);
            test_attribute = false;
        }
        for (number, id) in waiting.drain(..) {
            match around {
                Some(name) => {
                    tests.push(Test {
                        requirement: id.to_owned(),
                        file: file.to_owned(),
                        name: name.to_owned(),
                    });
                }
                None => complaints.push(format!("{file}:{number}: no test below `covers: {id}`")),
            }
        }
    }
    complaints
        .extend(waiting.iter().map(|(number, id)| format!("{file}:{number}: no test below `covers: {id}`")));
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let mut words =
        line.split(' ').skip_while(|word| word.starts_with("pub") || matches!(*word, "async" | "const"));
    let name = words.next().filter(|word| *word == "fn").and_then(|_| words.next())?;
    name.split(['(', '<']).next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(text: &str) -> (Vec<(String, String)>, usize) {
        let (mut tests, mut complaints) = (Vec::new(), Vec::new());
        scan("a.rs", text, &mut tests, &mut complaints);
        (tests.into_iter().map(|test| (test.requirement, test.name)).collect(), complaints.len())
    }

    fn pair(id: &str, name: &str) -> (String, String) {
        (id.to_owned(), name.to_owned())
    }

    #[test]
    fn requirements_belong_to_the_test_below_or_around() {
        let marker = "// covers:";
        let text = format!(
            "{marker} R1-1-1, R1-1-2 R1-1-3\n/// Why.\n#[test]\nfn one() {{\n    {marker} R1-2-1\n    let a = 1;\n}}\n\n\
             {marker} R1-3-1\n#[tokio::test(start_paused = true)]\nasync fn two() {{}}\n"
        );
        let expected = [
            pair("R1-1-1", "one"),
            pair("R1-1-2", "one"),
            pair("R1-1-3", "one"),
            pair("R1-2-1", "one"),
            pair("R1-3-1", "two"),
        ];
        assert_eq!(scanned(&text), (expected.to_vec(), 0));
    }

    #[test]
    fn a_function_without_the_attribute_is_no_test() {
        let marker = "// covers:";
        for text in ["\npub(crate) fn helper(of: u8) {}\n", "\nconst A: u8 = 1;\n", ""] {
            assert_eq!(scanned(&format!("{marker} R1-1-1{text}")), (Vec::new(), 1), "{text:?}");
        }
    }
}
