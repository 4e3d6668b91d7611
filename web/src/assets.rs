//! Style sheets, scripts, icons and browser libraries, embedded in the binary (in debug builds read from disk, so that edits show at once).
//! Served below `/static/<version>/...`, where the version is a hash over all of them and the answer may be kept for ever, and below
//! `/static/...`, where it must be asked for again. Relative imports between modules therefore stay within one version.
//! Which third-party files there are: build.rs.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

#[derive(RustEmbed)]
#[folder = "$CARGO_MANIFEST_DIR/../static"]
struct Own;

#[derive(RustEmbed)]
#[folder = "$OUT_DIR/vendor"]
struct Vendor;

const VENDOR: &str = "vendor/";
/// Hexadecimal digits of a version.
const VERSION_DIGITS: usize = 12;
const FOR_EVER: &str = "public, max-age=31536000, immutable";
const ASK_AGAIN: &str = "no-cache";

static BASE: LazyLock<String> = LazyLock::new(|| format!("/static/{}", version()));

/// Where assets of this build lie, such as `/static/0a1b2c3d4e5f`.
pub fn base() -> &'static str {
    &BASE
}

/// `GET /static/{*path}`.
pub async fn serve(Path(path): Path<String>, headers: HeaderMap) -> Response {
    let (versioned, name) = match path.split_once('/') {
        Some((first, rest)) if first.len() == VERSION_DIGITS && first.bytes().all(|b| b.is_ascii_hexdigit()) => (Some(first), rest),
        _ => (None, path.as_str()),
    };
    let Some(file) = find(name) else {
        return (StatusCode::NOT_FOUND, [(header::CACHE_CONTROL, ASK_AGAIN)], "There is no such file.\n").into_response();
    };
    let current = versioned.is_some_and(|version| BASE.ends_with(version)) && !cfg!(debug_assertions);
    let etag = format!("\"{}\"", hex(&file.metadata.sha256_hash()[..16]));
    let unchanged = headers.get(header::IF_NONE_MATCH).is_some_and(|given| given.as_bytes() == etag.as_bytes());
    let mut response = if unchanged {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let mime = content_type(name, &file);
        ([(header::CONTENT_TYPE, mime)], file.data).into_response()
    };
    let cache = HeaderValue::from_static(if current { FOR_EVER } else { ASK_AGAIN });
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, etag);
    }
    response
}

/// `GET /favicon.ico`, which browsers ask for unasked.
pub async fn favicon() -> Response {
    match find("icons/favicon.svg") {
        Some(file) => ([(header::CONTENT_TYPE, "image/svg+xml"), (header::CACHE_CONTROL, "max-age=86400")], file.data).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

fn find(name: &str) -> Option<EmbeddedFile> {
    match name.strip_prefix(VENDOR) {
        Some(rest) => Vendor::get(rest),
        None => Own::get(name),
    }
}

fn content_type(name: &str, file: &EmbeddedFile) -> String {
    match name.rsplit('.').next() {
        Some("js") => "text/javascript; charset=utf-8".to_owned(),
        Some("css") => "text/css; charset=utf-8".to_owned(),
        Some("txt") => "text/plain; charset=utf-8".to_owned(),
        _ => file.metadata.mimetype().to_owned(),
    }
}

/// Combines the hashes of all files; FNV-1a suffices to tell builds apart.
fn version() -> String {
    let mut names: Vec<String> =
        Own::iter().map(|name| name.into_owned()).chain(Vendor::iter().map(|name| format!("{VENDOR}{name}"))).collect();
    names.sort();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for name in &names {
        let content = find(name).map(|file| file.metadata.sha256_hash()).unwrap_or_default();
        for byte in name.bytes().chain(content) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
    let mut text = format!("{hash:016x}");
    text.truncate(VERSION_DIGITS);
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::http::Request;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    async fn fetch(path: &str, etag: Option<&str>) -> Response {
        let mut request = Request::get(path);
        if let Some(etag) = etag {
            request = request.header(header::IF_NONE_MATCH, etag);
        }
        let router = Router::new().route("/static/{*path}", get(serve));
        router.oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn files_have_their_type_and_are_told_apart_by_etag() {
        for (name, mime) in [
            ("css/tokens.css", "text/css; charset=utf-8"),
            ("js/app.js", "text/javascript; charset=utf-8"),
            ("icons/icons.svg", "image/svg+xml"),
            ("vendor/uplot/uPlot.esm.js", "text/javascript; charset=utf-8"),
            ("vendor/LICENSES.txt", "text/plain; charset=utf-8"),
        ] {
            let response = fetch(&format!("{}/{name}", base()), None).await;
            assert_eq!(response.status(), StatusCode::OK, "{name}");
            assert_eq!(response.headers()[header::CONTENT_TYPE], mime, "{name}");
            let etag = response.headers()[header::ETAG].to_str().unwrap().to_owned();
            assert_eq!(fetch(&format!("/static/{name}"), Some(&etag)).await.status(), StatusCode::NOT_MODIFIED);
        }
    }

    #[tokio::test]
    async fn unknown_and_escaping_names_are_not_found() {
        for name in [
            "nope.css",
            "js/",
            "../Cargo.toml",
            "css/../../web/Cargo.toml",
            "%2e%2e/Cargo.toml",
            "vendor/../../../Cargo.toml",
            "0a1b2c3d4e5f/nope",
        ] {
            assert_eq!(fetch(&format!("/static/{name}"), None).await.status(), StatusCode::NOT_FOUND, "{name}");
        }
    }

    #[test]
    fn every_script_import_and_icon_reference_exists() {
        let names: Vec<_> = Own::iter().filter(|name| name.starts_with("js/")).collect();
        assert!(names.len() > 10);
        for name in names {
            let text = String::from_utf8(find(&name).unwrap().data.into_owned()).unwrap();
            for import in text.split("from '").skip(1).chain(text.split("import('").skip(1)).chain(text.split("import '").skip(1)) {
                let path = import.split('\'').next().unwrap();
                let target = path.strip_prefix("../").map_or_else(|| format!("js/{}", path.trim_start_matches("./")), str::to_owned);
                assert!(find(&target).is_some(), "{name} imports {path}");
            }
        }
    }

    #[test]
    fn licences_of_all_libraries_are_delivered() {
        let text = String::from_utf8(find("vendor/LICENSES.txt").unwrap().data.into_owned()).unwrap();
        for library in ["uplot 1.", "idiomorph 0.", "sortable-tablesort 4."] {
            assert!(text.contains(library), "{library}");
        }
    }
}
