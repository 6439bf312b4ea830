//! Style, script and icon, inside the binary. Their address holds the hash of their content, so browsers keep them for
//! ever and never hold an old one.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use crate::error::Problem;

struct Asset {
    name: &'static str,
    kind: &'static str,
    content: &'static [u8],
    address: String,
}

static ASSETS: LazyLock<[Asset; 3]> = LazyLock::new(|| {
    let asset = |name, kind, content: &'static [u8]| {
        let hash = hex::encode(&Sha256::digest(content)[..8]);
        Asset { name, kind, content, address: format!("/static/{hash}/{name}") }
    };
    [
        asset("app.css", "text/css; charset=utf-8", include_bytes!("../../../web/static/app.css")),
        asset("live.js", "text/javascript; charset=utf-8", include_bytes!("../../../web/static/live.js")),
        asset("icon.svg", "image/svg+xml", include_bytes!("../../../web/static/icon.svg")),
    ]
});

/// Where a page finds it.
pub(crate) fn address(name: &str) -> &'static str {
    ASSETS.iter().find(|a| a.name == name).map_or("", |a| &a.address)
}

/// `GET /static/{hash}/{name}`
pub(crate) async fn serve(
    Path((hash, name)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let address = format!("/static/{hash}/{name}");
    let asset =
        ASSETS.iter().find(|a| a.address == address).ok_or_else(|| Problem::not_found("such file"))?;
    let tag = format!("\"{hash}\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|seen| seen.as_bytes() == tag.as_bytes()) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let kept = [
        (header::CONTENT_TYPE, asset.kind.to_owned()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable".to_owned()),
        (header::ETAG, tag),
    ];
    Ok((kept, asset.content).into_response())
}
