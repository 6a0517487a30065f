//! The folder a server hands out, and nothing outside it.

use std::{
    ffi::OsStr,
    io,
    path::{Component, Path, PathBuf},
};

use percent_encoding::percent_decode_str;

/// A folder whose files may be read by their URL path.
///
/// Names come from strangers: `..`, absolute paths and prefixes are refused in any encoding, and so are symbolic links
/// that leave the folder. Whoever can write into the folder is trusted not to exchange a file for a link meanwhile.
#[derive(Debug, Clone)]
pub struct Root {
    folder: PathBuf,
}

impl Root {
    /// A folder that exists.
    ///
    /// # Errors
    /// It does not, or is no folder.
    pub fn new(folder: &Path) -> io::Result<Self> {
        let folder = folder.canonicalize()?;
        if !folder.is_dir() {
            return Err(io::ErrorKind::NotADirectory.into());
        }
        Ok(Self { folder })
    }

    /// The file that a URL path names; a folder stands for its `index.html`. `None` if there is no such file, or it is
    /// not for strangers.
    ///
    /// Asks the file system: not for an async thread.
    #[must_use]
    pub fn find(&self, url_path: &str) -> Option<PathBuf> {
        let mut path = self.folder.join(relative(url_path)?).canonicalize().ok()?;
        if path.is_dir() {
            path = path.join("index.html").canonicalize().ok()?;
        }
        // Only now, with all links resolved, does the prefix mean anything. No pipes or devices: they would block.
        (path.starts_with(&self.folder) && path.is_file()).then_some(path)
    }
}

/// The path below the root that a URL path names, if it names one.
fn relative(url_path: &str) -> Option<PathBuf> {
    let mut path = PathBuf::new();
    for segment in url_path.strip_prefix('/')?.split('/') {
        let segment = percent_decode_str(segment).decode_utf8().ok()?;
        if segment.contains('\0') {
            return None;
        }
        let mut components = Path::new(OsStr::new(segment.as_ref())).components();
        match (components.next(), components.next()) {
            (None, _) => {}
            (Some(Component::Normal(name)), None) if name == segment.as_ref() => path.push(name),
            _ => return None,
        }
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A root with files in it, and a secret beside it.
    fn house() -> (tempfile::TempDir, Root) {
        let house = tempfile::tempdir().unwrap();
        let www = house.path().join("www");
        fs::create_dir_all(www.join("sub")).unwrap();
        fs::write(house.path().join("secret"), "s").unwrap();
        fs::write(www.join("a b.txt"), "ab").unwrap();
        fs::write(www.join("..name"), "dots").unwrap();
        fs::write(www.join("sub/index.html"), "i").unwrap();
        let root = Root::new(&www).unwrap();
        (house, root)
    }

    #[test]
    fn files_are_found_by_their_encoded_names() {
        let (_house, root) = house();
        for (path, name) in [
            ("/a%20b.txt", "a b.txt"),
            ("//sub//", "index.html"),
            ("/sub", "index.html"),
            ("/sub/index%2ehtml", "index.html"),
            ("/..name", "..name"),
        ] {
            assert_eq!(root.find(path).unwrap().file_name().unwrap(), name, "{path}");
        }
    }

    #[test]
    fn nothing_outside_the_root_is_found() {
        let (house, root) = house();
        let absolute = format!("/{}", house.path().join("secret").display());
        for path in [
            "/../secret",
            "/%2e%2e/secret",
            "/sub/../../secret",
            "/sub/%2E%2E/%2e./secret",
            "/..%2fsecret",
            "/%2e%2e%2fsecret",
            "/sub%2f..%2f..%2fsecret",
            "/%2fetc%2fpasswd",
            "/sub/..",
            "/sub/.",
            "/a%20b.txt%00",
            "/%ff",
            "/missing",
            "/",
            "",
            "secret",
            "*",
            &absolute,
        ] {
            assert_eq!(
                root.find(path).filter(|found| !found.ends_with("www/sub/index.html")),
                None,
                "{path}"
            );
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_may_not_leave_and_only_files_are_served() {
        use std::os::unix::{fs::symlink, net::UnixListener};
        let (house, root) = house();
        let www = house.path().join("www");
        symlink(house.path().join("secret"), www.join("out")).unwrap();
        symlink(house.path(), www.join("up")).unwrap();
        symlink("sub/index.html", www.join("in")).unwrap();
        let _listener = UnixListener::bind(www.join("socket")).unwrap();
        assert_eq!(root.find("/out"), None);
        assert_eq!(root.find("/up/secret"), None);
        assert_eq!(root.find("/socket"), None);
        assert!(root.find("/in").unwrap().ends_with("sub/index.html"));
    }

    #[cfg(unix)]
    #[test]
    fn an_index_may_not_lead_out_either() {
        let (house, root) = house();
        std::os::unix::fs::symlink(house.path().join("secret"), house.path().join("www/index.html")).unwrap();
        assert_eq!(root.find("/"), None);
    }
}
