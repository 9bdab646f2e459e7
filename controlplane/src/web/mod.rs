//! The page: static files that are part of the program.

use axum::extract::Path;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use crate::api::{ApiError, ErrorKind};

/// One file under `static/`.
struct File {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

/// `GET /`.
pub(crate) async fn index() -> Response {
    serve("index.html")
}

/// `GET /static/{file}`.
pub(crate) async fn file(Path(name): Path<String>) -> Response {
    serve(&name)
}

fn serve(name: &str) -> Response {
    let Some(file) = FILES.iter().find(|file| file.name == name) else {
        let error = ApiError::new(ErrorKind::UnknownPath, "There is no such file");
        return error.into_response();
    };
    let mut response = file.bytes.into_response();
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(file.content_type),
    );
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// What a browser must and must not do with these files.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; \
         img-src 'self' data:; media-src 'self' blob: mediastream:; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    // A new version of the program is seen at once; the files are small.
    (header::CACHE_CONTROL, "no-cache"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

macro_rules! files {
    ($($name:literal is $content_type:expr;)+) => {
        &[$(File {
            name: $name,
            content_type: $content_type,
            bytes: include_bytes!(concat!("static/", $name)),
        }),+]
    };
}

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

const FILES: &[File] = files! {
    "index.html" is HTML;
    "style.css" is CSS;
    "favicon.svg" is SVG;
    "api.js" is SCRIPT;
    "call.js" is SCRIPT;
    "events.js" is SCRIPT;
    "main.js" is SCRIPT;
    "media.js" is SCRIPT;
    "meeting.js" is SCRIPT;
    "reasons.js" is SCRIPT;
    "room.js" is SCRIPT;
    "settings.js" is SCRIPT;
    "stats.js" is SCRIPT;
    "ticker.js" is SCRIPT;
    "tile.js" is SCRIPT;
    "watch.js" is SCRIPT;
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_in_the_directory_is_served() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/src/web/static");
        for entry in std::fs::read_dir(directory).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(
                FILES.iter().any(|file| file.name == name),
                "{name} is in the table"
            );
        }
    }
}
