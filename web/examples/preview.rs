//! Serves pages with sample data over plain HTTP on loopback, for work on the design: `cargo run -p vt-web --example preview [port]`.

use std::net::{Ipv4Addr, SocketAddr};

use askama::Template;
use axum::Router;
use axum::extract::Query;
use axum::response::Html;
use axum::routing::get;
use serde::Deserialize;
use vt_web::assets;
use vt_web::frame::{Frame, Section, Theme};
use vt_web::pages::components::ComponentsPage;

#[derive(Deserialize)]
struct Look {
    #[serde(default)]
    theme: String,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "tells the maintainer where to look")]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(8180);
    let router = Router::new().route("/static/{*path}", get(assets::serve)).route("/components", get(components));
    let listener = tokio::net::TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
    println!("http://{}/components", listener.local_addr()?);
    axum::serve(listener, router).await
}

async fn components(Query(look): Query<Look>) -> Html<String> {
    let page = ComponentsPage { frame: frame(&look, Section::None) };
    Html(page.render().unwrap_or_else(|error| error.to_string()))
}

fn frame(look: &Look, section: Section) -> Frame {
    Frame {
        instance: "harbor1".to_owned(),
        user: Some("dana".to_owned()),
        theme: Theme::parse(&look.theme),
        section,
        csrf: "sample".to_owned(),
        flash: None,
        now: chrono::Utc::now(),
        here: "/".to_owned(),
    }
}
