//! Names out of paths and module names.

/// Extensions of what interpreters run.
const EXTENSIONS: [&str; 18] = [
    ".py", ".pyc", ".pyz", ".js", ".mjs", ".cjs", ".ts", ".mts", ".rb", ".ru", ".pl", ".psgi", ".php", ".sh", ".jar",
    ".war", ".dll", ".java",
];

/// Directories that every other project has too: they name nothing.
const GENERIC: [&str; 24] = [
    "src",
    "dist",
    "build",
    "lib",
    "bin",
    "out",
    "app",
    "apps",
    "usr",
    "opt",
    "srv",
    "var",
    "tmp",
    "home",
    "root",
    "code",
    "workspace",
    "www",
    "html",
    "public",
    "target",
    "local",
    "share",
    "node_modules",
];

/// A file's name without directories and without the extension of a script.
pub(in crate::host) fn stem(path: &str) -> &str {
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or(path);
    let stem = EXTENSIONS.iter().find_map(|extension| name.strip_suffix(extension));
    stem.filter(|stem| !stem.is_empty()).unwrap_or(name)
}

/// The stem of `file`; but when that is one of `anonymous`, or `file` is a directory itself (`.`), the nearest directory
/// above that has a name of its own.
pub(super) fn named_by_directory(file: &str, cwd: Option<&str>, anonymous: &[&str]) -> Option<String> {
    let own = stem(file);
    let is_directory = matches!(own, "." | ".." | "") || GENERIC.contains(&own) && own == file;
    if !is_directory && !anonymous.contains(&own) {
        return Some(own.to_owned());
    }
    let parts = resolved(file, cwd);
    let above = if is_directory { &parts[..] } else { parts.split_last().map_or(&[][..], |(_, above)| above) };
    let named = above.iter().enumerate().rev().find(|&(at, part)| {
        let is_home = at > 0 && above[at - 1] == "home";
        !GENERIC.contains(part) && !is_home && !part.starts_with('.')
    });
    named.map(|(_, part)| (*part).to_owned()).or_else(|| (!is_directory).then(|| own.to_owned()))
}

/// The parts of a path, seen from the working directory where it is relative and that is known.
fn resolved<'a>(file: &'a str, cwd: Option<&'a str>) -> Vec<&'a str> {
    let base = if file.starts_with('/') { "" } else { cwd.unwrap_or("") };
    let mut parts = Vec::new();
    for part in base.split('/').chain(file.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts
}

/// `text` as a dotted name of a module or class, without the last parts that are one of `tails` (as long as something
/// stays); `None` when it isn't a dotted name.
pub(super) fn module_of(text: &str, tails: &[&str]) -> Option<String> {
    let is_word = |word: &str| {
        !word.is_empty()
            && !word.starts_with(|c: char| c.is_ascii_digit())
            && word.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == '-')
    };
    if !text.split('.').all(is_word) {
        return None;
    }
    let mut module = text;
    while let Some((before, tail)) = module.rsplit_once('.') {
        if !tails.contains(&tail) {
            break;
        }
        module = before;
    }
    Some(module.to_owned())
}
