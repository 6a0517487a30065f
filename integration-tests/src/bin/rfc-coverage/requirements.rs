//! The requirements, and the reasons why some have no test: both lists are separated by tabs.

use std::{collections::BTreeMap, fs, path::Path};

/// Drafts that are built, by the names of their files.
const DRAFTS: [&str; 2] = ["ack-frequency", "reset-stream-at"];

/// One sentence of an RFC or draft. Its text stays where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Requirement {
    pub(crate) id: String,
    /// The number of an RFC, or the name of a draft.
    pub(crate) rfc: String,
    pub(crate) section: String,
    /// `MUST`, `SHOULD NOT`, or two of them: `MUST+SHOULD`.
    pub(crate) level: String,
}

impl Requirement {
    pub(crate) fn is_must(&self) -> bool {
        self.level.split('+').any(|level| matches!(level, "MUST" | "MUST NOT"))
    }
}

/// Everything in the files `rfcNNNN.tsv` of a folder, and those of [`DRAFTS`]: in the order of the RFCs, then in the order
/// of the file.
pub(crate) fn read(folder: &Path) -> Result<Vec<Requirement>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let draft = DRAFTS.iter().any(|draft| name.strip_suffix(".tsv") == Some(draft));
            draft || (name.starts_with("rfc") && name.ends_with(".tsv"))
        })
        .collect();
    // RFCs first.
    let is_rfc = |file: &std::path::PathBuf| {
        file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("rfc"))
    };
    files.sort_by_key(|file| (!is_rfc(file), file.clone()));
    let mut all = Vec::new();
    for file in files {
        all.extend(parse(&crate::read(&file)?).map_err(|error| format!("{}: {error}", file.display()))?);
    }
    Ok(all)
}

fn parse(text: &str) -> Result<Vec<Requirement>, String> {
    let mut all = Vec::new();
    for line in text.lines().skip(1) {
        let columns: Vec<_> = line.split('\t').collect();
        let [id, rfc, section, level, ..] = columns[..] else {
            return Err(format!("too few columns: {line:?}"));
        };
        all.push(Requirement {
            id: id.to_owned(),
            rfc: rfc.to_owned(),
            section: section.to_owned(),
            level: level.to_owned(),
        });
    }
    Ok(all)
}

/// Reasons by requirement. The first line is the heading.
pub(crate) fn reasons(text: &str) -> Result<BTreeMap<String, String>, String> {
    let mut all = BTreeMap::new();
    for line in text.lines().skip(1) {
        let (id, reason) = line.split_once('\t').ok_or_else(|| format!("no reason: {line:?}"))?;
        if reason.trim().is_empty() {
            return Err(format!("{id}: an empty reason"));
        }
        if all.insert(id.to_owned(), reason.to_owned()).is_some() {
            return Err(format!("{id} has two reasons"));
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requirements_are_rows() {
        let rows = "id\trfc\tsection\tlevel\tsubject\ttext\nR1-2-3\t1\t2\tMUST+SHOULD\t-\tDo.\n";
        let all = parse(rows).unwrap();
        assert_eq!((all.len(), &*all[0].id, &*all[0].rfc, &*all[0].section), (1, "R1-2-3", "1", "2"));
        assert!(all[0].is_must());
        assert!(!Requirement { level: "SHOULD NOT".to_owned(), ..all[0].clone() }.is_must());
        assert!(parse("id\nR1\t1\n").is_err());
    }

    #[test]
    fn reasons_are_not_empty_and_not_given_twice() {
        assert_eq!(reasons("id\treason\nR1\tbecause\n").unwrap()["R1"], "because");
        assert!(reasons("id\treason\nR1\t \n").is_err());
        assert!(reasons("id\treason\nR1\ta\nR1\tb\n").is_err());
    }
}
