//! The web UI's files: built by Vite from `agent/web/`, committed, and part of this binary, so that no Node is needed to build
//! the agent and no network to use the UI. They hold no data: whoever may connect may have them.

use axum::{
    body::Body,
    response::{IntoResponse as _, Response as Answer},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, Uri, header};

use super::answer;

/// A file: its path, its type, its bytes.
type File = (&'static str, &'static str, &'static [u8]);

const FILES: [File; 5] = [
    ("/", "text/html; charset=utf-8", include_bytes!("../../web/dist/index.html")),
    ("/assets/app.js", "text/javascript; charset=utf-8", include_bytes!("../../web/dist/assets/app.js")),
    ("/assets/app.css", "text/css; charset=utf-8", include_bytes!("../../web/dist/assets/app.css")),
    ("/third-party.txt", "text/plain; charset=utf-8", include_bytes!("../../web/dist/third-party.txt")),
    ("/icon.svg", "image/svg+xml", include_bytes!("../../web/dist/icon.svg")),
];

/// What the page may do: run its own script, ask its own origin, and nothing else. Text that came by the wire can't become
/// HTML or script by mistake either: the browser refuses to parse strings as such (Trusted Types).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

/// Whether a path is that of one of the files.
pub(super) fn has(path: &str) -> bool {
    FILES.iter().any(|(known, ..)| *known == path)
}

/// Gives a file, or says that the browser's copy is still right.
pub(super) async fn file(uri: Uri, headers: HeaderMap) -> Answer {
    let found = FILES.iter().find(|(path, ..)| *path == uri.path());
    let Some((_, kind, bytes)) = found else {
        let why = "there is nothing here; the UI is at /, the API is described by /v1/openapi.json";
        return answer::error(StatusCode::NOT_FOUND, why).into_response();
    };
    let tag = format!("\"{:08x}-{:x}\"", crc32fast::hash(bytes), bytes.len());
    let is_known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let mut response = if is_known { Response::new(Body::empty()) } else { answer::body(kind, *bytes) };
    if is_known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let own = response.headers_mut();
    own.extend(HeaderValue::from_str(&tag).map(|tag| (header::ETAG, tag)));
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    own.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    own.insert("cross-origin-opener-policy", HeaderValue::from_static("same-origin"));
    response.into_response()
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;

    /// FNV-1a, as `agent/web/vite.config.ts` has it.
    fn fnv(bytes: impl IntoIterator<Item = u8>, hash: u64) -> u64 {
        bytes.into_iter().fold(hash, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }

    fn files(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).expect("a directory").map(|entry| entry.expect("an entry").path()) {
            if entry.is_dir() { files(&entry, found) } else { found.push(entry) }
        }
    }

    #[test]
    fn the_committed_build_is_that_of_the_sources() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
        let mut sources = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.ts"]
            .map(|name| root.join(name))
            .to_vec();
        files(&root.join("src"), &mut sources);
        files(&root.join("public"), &mut sources);
        let name = |path: &Path| path.strip_prefix(&root).expect("a source").to_string_lossy().into_owned();
        sources.sort_by_key(|path| name(path));
        let hash = sources.iter().fold(0xcbf2_9ce4_8422_2325, |hash, path| {
            fnv(std::fs::read(path).expect("a source"), fnv(name(path).bytes(), hash))
        });
        let built = std::fs::read_to_string(root.join("dist/sources.txt")).expect("dist/sources.txt");
        assert_eq!(built.trim(), format!("{hash:016x}"), "run `npm ci && npm run build` in agent/web, and commit dist");
    }

    #[test]
    fn the_page_asks_for_files_that_are_there_and_runs_nothing_inline() {
        let page = std::str::from_utf8(FILES[0].2).expect("UTF-8");
        let asked: Vec<_> = page
            .split(['"', '\''])
            .filter(|part| part.starts_with('/') && part.len() > 1 && !part.contains('>'))
            .collect();
        assert!(asked.len() >= 3 && asked.iter().all(|path| has(path)), "{asked:?}");
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("://"));
        assert_eq!(page.matches("<script").count(), 1);
    }
}
