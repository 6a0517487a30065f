//! Field sections that other implementations encoded, from the public qifs collection: a folder with `encoded/` and
//! `qifs/`, named by `GANNET_QPACK_INTEROP`. Run with
//! `cargo test -p gannet-http3 --lib -- --ignored encodings_of_others`.

use std::fs;
use std::path::Path;

use super::decoder::tests::lines_of;
use super::encoder::SectionEncoder;

type Lines = Vec<(String, String)>;

/// The header sets of a text file: lines of name, tab and value; an empty line ends a set.
fn read_qif(path: &Path) -> Vec<Lines> {
    let text = String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned();
    let (mut sets, mut set) = (Vec::new(), Lines::new());
    for line in text.lines().filter(|line| !line.starts_with('#')).chain([""]) {
        match line.split_once('\t') {
            Some((name, value)) => set.push((name.into(), value.into())),
            None if !set.is_empty() => sets.push(std::mem::take(&mut set)),
            None => {}
        }
    }
    sets
}

/// The blocks of an encoded file: stream ID (8 bytes), length (4 bytes), content.
fn read_blocks(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let file = fs::read(path).unwrap();
    let mut rest = &file[..];
    let mut blocks = Vec::new();
    while let Some((head, tail)) = rest.split_first_chunk::<12>() {
        let id = u64::from_be_bytes(head[..8].try_into().unwrap());
        let len = u32::from_be_bytes(head[8..].try_into().unwrap()) as usize;
        let (content, tail) = tail.split_at(len);
        blocks.push((id, content.to_vec()));
        rest = tail;
    }
    assert!(rest.is_empty());
    blocks
}

fn decoded(section: &[u8]) -> Lines {
    lines_of(section).unwrap().into_iter().map(|(name, value, _)| (name, value)).collect()
}

#[test]
#[ignore = "needs the folder that GANNET_QPACK_INTEROP names"]
fn encodings_of_others_without_a_dynamic_table() {
    let folder = std::env::var_os("GANNET_QPACK_INTEROP").expect("GANNET_QPACK_INTEROP names the folder");
    let folder = Path::new(&folder);
    let mut files = 0;
    for encoder in fs::read_dir(folder.join("encoded")).unwrap() {
        for file in fs::read_dir(encoder.unwrap().path()).unwrap() {
            let path = file.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            // <qif>.out.<table capacity>.<max blocked streams>.<acknowledged>
            let Some((qif, parameters)) = name.split_once(".out.") else { continue };
            if !parameters.starts_with("0.") {
                continue;
            }
            let sets = read_qif(&folder.join("qifs").join(format!("{qif}.qif")));
            let mut sections: Vec<_> = read_blocks(&path).into_iter().filter(|block| block.0 != 0).collect();
            sections.sort_by_key(|block| block.0);
            assert_eq!(sections.len(), sets.len(), "{}", path.display());
            for ((stream, section), set) in sections.iter().zip(&sets) {
                assert_eq!(&decoded(section), set, "{} stream {stream}", path.display());
            }
            files += 1;
        }
    }
    assert!(files > 0, "no encoding with capacity 0 in {}", folder.display());
}

#[test]
#[ignore = "needs the folder that GANNET_QPACK_INTEROP names"]
fn encodings_of_others_are_not_shorter_than_ours() {
    let folder = std::env::var_os("GANNET_QPACK_INTEROP").expect("GANNET_QPACK_INTEROP names the folder");
    let folder = Path::new(&folder);
    for qif in ["netbsd", "netbsd-hq", "fb-req-hq", "fb-resp-hq"] {
        let mut ours = 0;
        for set in read_qif(&folder.join("qifs").join(format!("{qif}.qif"))) {
            let mut out = Vec::new();
            let mut section = SectionEncoder::new(&mut out);
            for (name, value) in &set {
                section.line(name, value.as_bytes(), false);
            }
            assert_eq!(decoded(&out), set);
            ours += out.len() + 12;
        }
        for encoder in ["ls-qpack", "nghttp3"] {
            if let Ok(file) = fs::metadata(folder.join(format!("encoded/{encoder}/{qif}.out.0.0.0"))) {
                assert!(ours as u64 <= file.len(), "{qif}: {ours} bytes, {encoder} {}", file.len());
            }
        }
    }
}
