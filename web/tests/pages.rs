//! The pages through their router, without sockets: first run, sessions, forms and their protection, each page's success and failure.

mod support;

use axum::http::{Request, StatusCode, header};
use support::{CODE, PASSWORD, Site};
use vt_services::bench::{answering_platform, link, until};
use vt_services::{Caller, ConfigType};

const REGISTRY: &str = "Point Name,Volttron Point Name,Units,Writable,Type\nT,ZoneTemperature,C,FALSE,float\nSP,SetPoint,C,TRUE,float\n";

#[tokio::test]
async fn the_first_administrator_needs_the_code_and_is_made_once() {
    let site = Site::fresh().await;
    let mut visitor = site.visitor();
    let first = visitor.get("/").await;
    assert_eq!((first.status, first.location()), (StatusCode::SEE_OTHER, "/setup"));
    assert_eq!(visitor.get("/login").await.location(), "/setup");

    let fields = |code| [("code", code), ("user", "dana"), ("password", PASSWORD), ("repeat", PASSWORD)];
    let wrong = visitor.post("/setup", "/setup", &fields("WRONG")).await;
    assert!(wrong.status.is_client_error(), "{}", wrong.status);
    assert!(wrong.body.contains("role=\"alert\"") && wrong.body.contains("value=\"dana\""), "the form keeps what was typed");
    assert!(!wrong.body.contains(PASSWORD));
    let differing =
        visitor.post("/setup", "/setup", &[("code", CODE), ("user", "dana"), ("password", PASSWORD), ("repeat", "other")]).await;
    assert_eq!(differing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!site.services.auth.has_users());

    let token = visitor.token("/setup").await;
    let mut other = site.visitor();
    let other_token = other.token("/setup").await;
    let (mine, theirs) = (fields(CODE), fields(CODE));
    let (one, two) = tokio::join!(visitor.post_with(&token, "/setup", &mine), other.post_with(&other_token, "/setup", &theirs));
    let mut places = [one.location().to_owned(), two.location().to_owned()];
    places.sort();
    assert_eq!(places, ["/", "/login"], "exactly one of two wins");
    assert_eq!(site.services.auth.users().len(), 1);
    assert_eq!(site.visitor().get("/setup").await.location(), "/login");
}

#[tokio::test]
async fn log_in_sets_protected_cookies_and_goes_where_it_was_asked() {
    let (site, _) = Site::with_dana().await;
    let mut visitor = site.visitor();
    let asked = visitor.get("/agents?q=x").await;
    assert_eq!((asked.status, asked.location()), (StatusCode::SEE_OTHER, "/login?next=%2Fagents%3Fq%3Dx"));
    assert!(visitor.get(asked.location()).await.body.contains("name=\"next\" value=\"/agents?q=x\""));

    let wrong = visitor.post("/login", "/login", &[("user", "dana"), ("password", "wrong")]).await;
    assert_eq!(wrong.status, StatusCode::UNAUTHORIZED);
    assert!(wrong.body.contains("User name or password is wrong.") && !wrong.headers.contains_key("www-authenticate"));
    let right = visitor.post("/login", "/login", &[("user", "dana"), ("password", PASSWORD), ("next", "/agents?q=x")]).await;
    assert_eq!((right.status, right.location()), (StatusCode::SEE_OTHER, "/agents?q=x"));
    for line in right.headers.get_all(header::SET_COOKIE).iter().map(|line| line.to_str().unwrap()) {
        assert!(["HttpOnly", "Secure", "SameSite=Strict", "Path=/"].iter().all(|word| line.contains(word)), "{line}");
    }
    assert_eq!(visitor.get("/agents").await.status, StatusCode::OK);

    for evil in ["//evil.example", "https://evil.example", "/\\evil.example"] {
        let mut visitor = site.visitor();
        let answer = visitor.post("/login", "/login", &[("user", "dana"), ("password", PASSWORD), ("next", evil)]).await;
        assert_eq!(answer.location(), "/", "{evil}");
    }
}

#[tokio::test]
async fn ten_wrong_passwords_are_answered_with_a_wait() {
    let (site, _) = Site::with_dana().await;
    let mut visitor = site.visitor();
    let token = visitor.token("/login").await;
    for _ in 0..12 {
        let answer = visitor.post_with(&token, "/login", &[("user", "dana"), ("password", "wrong")]).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers.contains_key(header::RETRY_AFTER));
            assert!(answer.body.contains("role=\"alert\""));
            return;
        }
    }
    panic!("never limited");
}

#[tokio::test]
async fn sessions_are_renewed_and_end() {
    let (site, mut dana) = Site::with_dana().await;
    let before = dana.cookies["Bearer"].clone();
    site.advance(16);
    assert_eq!(dana.get("/agents").await.status, StatusCode::OK, "the refresh cookie carries on");
    assert_ne!(dana.cookies["Bearer"], before);
    let session = dana.send(Request::get("/session").header(header::ACCEPT, "application/json")).await;
    assert_eq!(session.status, StatusCode::OK);
    assert!(session.body.contains("\"user\":\"dana\""));

    let (_, fresh) = session.body.split_once("\"csrf\":\"").unwrap();
    let sent = dana.post_with(fresh.split('"').next().unwrap(), "/preferences/theme", &[("theme", "dark"), ("next", "/agents")]).await;
    assert_eq!(sent.location(), "/agents", "its token is good for forms that are older than the session");

    let stolen = dana.cookies.clone();
    let out = dana.post("/agents", "/logout", &[]).await;
    assert_eq!(out.location(), "/login");
    assert!(!dana.cookies.contains_key("Bearer") && !dana.cookies.contains_key("BearerRefresh"));
    assert!(dana.get("/login").await.body.contains("You are logged out."));
    let mut thief = site.visitor();
    thief.cookies = stolen;
    assert_eq!(thief.get("/agents").await.status, StatusCode::SEE_OTHER, "tokens of an ended session are dead");

    let (site, mut dana) = Site::with_dana().await;
    site.advance(5 * 60);
    assert!(dana.get("/agents").await.location().starts_with("/login"));
    let gone = dana.send(Request::get("/session").header(header::ACCEPT, "application/json")).await;
    assert!(gone.body.contains(r#""user":null"#), "{}", gone.body);
}

#[tokio::test]
async fn forms_need_their_token_and_their_own_site() {
    let (site, mut dana) = Site::with_dana().await;
    for token in ["", "0123", &site.visitor().token("/login").await] {
        let answer = dana.post_with(token, "/agents", &[("kind", "listener")]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{token}");
    }
    let token = dana.token("/agents").await;
    let body = support::form(&token, &[("kind", "listener")]);
    let foreign = |name: &'static str, value: &'static str| {
        Request::post("/agents").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").header(name, value)
    };
    let mut refused = Vec::new();
    for request in [foreign("sec-fetch-site", "cross-site"), foreign("origin", "https://evil.example"), foreign("origin", "null")] {
        refused.push(dana.send_text(request, &body).await.status);
    }
    assert_eq!(refused, [StatusCode::FORBIDDEN; 3]);
    assert!(site.services.agents.list().is_empty());
    for path in ["/logout", "/preferences/theme", "/agents/x/start"] {
        assert_eq!(dana.get(path).await.status, StatusCode::METHOD_NOT_ALLOWED, "no state changes by GET: {path}");
    }
}

#[tokio::test]
async fn every_page_has_the_security_headers() {
    let (site, mut dana) = Site::with_dana().await;
    for path in ["/", "/agents", "/devices", "/components", "/nope", "/agents/none"] {
        let answer = dana.get(path).await;
        let csp = answer.headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(csp.contains("default-src 'self'") && csp.contains("frame-ancestors 'none'") && !csp.contains("unsafe"), "{csp}");
        assert_eq!(answer.headers[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
        assert_eq!(answer.headers[header::CACHE_CONTROL], "no-store");
        assert!(answer.headers.contains_key(header::STRICT_TRANSPORT_SECURITY) && answer.headers.contains_key(header::REFERRER_POLICY));
        assert!(!answer.body.contains(" style=") && !answer.body.contains("<script>") && !answer.body.contains("//cdn"), "{path}");
    }
    assert_eq!(site.visitor().get("/session").await.headers[header::CACHE_CONTROL], "no-store");
}

#[tokio::test]
async fn what_is_not_there_is_told_on_a_page_that_runs_nothing() {
    let (_site, mut dana) = Site::with_dana().await;
    for path in [
        "/nope",
        "/agents/none",
        "/agents/%3Cimg%20onerror%3Dx%3E",
        "/devices/a/%3Cscript%3E",
        "/agents/none/configs/x",
        "/devices/..%2F..%2Fetc",
        "/devices/a%00b",
        "/agents/%FF",
    ] {
        let answer = dana.get(path).await;
        assert!(
            matches!(answer.status, StatusCode::NOT_FOUND | StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST),
            "{path}: {}",
            answer.status
        );
        assert!(!answer.body.contains("<img") && !answer.body.contains("<script>"), "{path}");
    }
    let long = format!("/devices/{}", "x".repeat(60_000));
    let answer = dana.get(&long).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    assert!(answer.body.len() < 20_000);
    let json = dana.send(Request::get("/nope").header(header::ACCEPT, "application/json")).await;
    assert!(json.body.starts_with("{\"error\":"), "{}", json.body);
}

#[tokio::test]
async fn agents_are_installed_started_changed_and_removed() {
    let (site, mut dana) = Site::with_dana().await;
    let bad = dana.post("/agents", "/agents", &[("kind", "listener"), ("identity", "<img onerror=x>")]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.body.contains("role=\"alert\"") && !bad.body.contains("<img"));
    let bad = dana.post("/agents", "/agents", &[("kind", "listener"), ("priority", "100")]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.body.contains("0 - 99"), "names the range");

    let good = dana.post("/agents", "/agents", &[("kind", "listener"), ("identity", "ear.1"), ("start", "1")]).await;
    assert_eq!((good.status, good.location()), (StatusCode::SEE_OTHER, "/agents/ear.1"));
    let page = dana.get("/agents/ear.1").await;
    assert!(page.body.contains("ear.1 is installed.") && page.body.contains("Running"), "message and state");
    assert!(!dana.get("/agents/ear.1").await.body.contains("ear.1 is installed."), "the message is shown once");

    for (action, fields, shows) in [
        ("tag", vec![("tag", "<b>ears</b>")], "&#60;b&#62;ears"),
        ("enable", vec![("priority", "7")], "starts with the platform, at 7"),
        ("disable", vec![], "no longer starts"),
        ("stop", vec![], "is stopped"),
        ("start", vec![], "is started"),
        ("start", vec![], "already running"),
        ("restart", vec![], "is restarted"),
    ] {
        let answer = dana.post("/agents/ear.1", &format!("/agents/ear.1/{action}"), &fields).await;
        assert_eq!(answer.location(), "/agents/ear.1", "{action}");
        let page = dana.get("/agents/ear.1").await.body;
        assert!(page.contains(shows) || page.contains(&shows.replace("&#60;", "&lt;").replace("&#62;", "&gt;")), "{action} shows {shows}");
    }
    let answer = dana.post("/agents/ear.1", "/agents/ear.1/stop", &[("next", "//evil")]).await;
    assert_eq!(answer.location(), "/");
    assert_eq!(dana.post("/agents", "/agents/none/start", &[]).await.status, StatusCode::NOT_FOUND);
    assert_eq!(dana.post("/agents", "/agents/ear.1/explode", &[]).await.status, StatusCode::NOT_FOUND);

    let ask = dana.post("/agents/ear.1", "/agents/ear.1/remove", &[]).await;
    assert_eq!(ask.status, StatusCode::OK);
    assert!(ask.body.contains("name=\"confirmed\"") && site.services.agents.by_identity("ear.1").is_some(), "asks before it removes");
    let gone = dana.post("/agents/ear.1", "/agents/ear.1/remove", &[("confirmed", "1")]).await;
    assert_eq!(gone.location(), "/agents");
    assert!(site.services.agents.list().is_empty());
}

#[tokio::test]
async fn configuration_entries_are_kept_and_mistakes_shown_with_their_place() {
    let (site, mut dana) = Site::with_dana().await;
    let base = "/agents/platform.driver/configs";
    let broken = dana.post(base, base, &[("name", "config"), ("type", "json"), ("text", "{\n  \"a\": 1\n  \"b\": 2\n}")]).await;
    assert_eq!(broken.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(broken.body.contains("ine 3"), "names the line");
    assert!(broken.body.contains("&#34;b&#34;: 2"), "the form keeps the text");

    let name = "devices/<b>/ü #?%/x";
    let stored = dana.post(base, base, &[("name", name), ("type", "json"), ("text", "{\r\n\"driver_type\": \"fake\"}")]).await;
    assert_eq!(stored.status, StatusCode::SEE_OTHER, "{}", stored.body);
    let place = stored.location().to_owned();
    assert_eq!(place, format!("{base}/devices/%3Cb%3E/%C3%BC%20%23%3F%25/x"));
    let page = dana.get(&place).await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(page.body.contains("Saved.") && !page.body.contains("<b>/"));
    assert_eq!(site.services.configs.get(&"platform.driver".parse().unwrap(), name).unwrap().data, "{\n\"driver_type\": \"fake\"}");
    assert!(page.body.contains("{\n&#34;driver_type&#34;: &#34;fake&#34;}"), "what people laid out stays: {}", page.body);
    let line = dana.post(base, base, &[("name", "line"), ("type", "json"), ("text", "{\"a\":1.50}")]).await;
    assert!(dana.get(line.location()).await.body.contains("{\n  &#34;a&#34;: 1.50\n}"), "a line is spread for reading");
    let again = dana.post(base, base, &[("name", name), ("type", "raw"), ("text", "")]).await;
    assert_eq!(again.status, StatusCode::CONFLICT);

    let ask = dana.post(&place, &place, &[("do", "delete")]).await;
    assert!(ask.body.contains("name=\"confirmed\""));
    let gone = dana.post(&place, &place, &[("do", "delete"), ("confirmed", "1")]).await;
    assert_eq!(gone.location(), "/agents/platform.driver");
    assert_eq!(dana.get(&place).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn devices_and_points_are_shown_and_writing_says_what_is_wrong() {
    let (site, mut dana) = Site::with_dana().await;
    site.configure("r.csv", ConfigType::Csv, REGISTRY).await;
    for path in ["campus/b1/ahu1", "campus/b1/<img src=x onerror=y>"] {
        site.configure(
            &format!("devices/{path}"),
            ConfigType::Json,
            r#"{"driver_type": "fake", "interval": 5, "registry_config": "config://r.csv"}"#,
        )
        .await;
    }
    site.configure("devices/campus/b2/odd", ConfigType::Json, r#"{"driver_type": "fake", "registry_config": "config://gone.csv"}"#).await;

    let tree = dana.get("/devices").await;
    assert!(tree.body.contains("3 devices") && tree.body.contains("SetPoint") && tree.body.contains("gone.csv"));
    assert!(!tree.body.contains("<img"));
    assert!(tree.body.contains("/devices/campus/b1/%3Cimg%20src%3Dx%20onerror%3Dy%3E"));
    assert!(!dana.get("/devices?q=odd").await.body.contains("SetPoint"), "the filter works without scripts");
    assert!(dana.get("/devices/campus/b1").await.body.contains("2 devices"));
    assert!(dana.get("/devices/campus/b1/ahu1").await.body.contains("can be set"));
    assert_eq!(dana.get("/devices/campus/b1/%3Cimg%20src%3Dx%20onerror%3Dy%3E/SetPoint").await.status, StatusCode::OK);

    let point = "/devices/campus/b1/ahu1/SetPoint";
    assert!(dana.get(point).await.body.contains("New value in"));
    assert!(dana.get("/devices/campus/b1/ahu1/ZoneTemperature").await.body.contains("can only be read"));
    let bad = dana.post(point, point, &[("do", "set"), ("value", "21,5<b>")]).await;
    assert_eq!(bad.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(bad.body.contains("This point takes a number") && bad.body.contains("aria-invalid"));
    let none = dana.post(point, point, &[("do", "set"), ("value", "21.5")]).await;
    assert_eq!(none.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(none.body.contains("platform.driver is not running"), "says what to do");
    let chart = dana
        .send(Request::get("/chart-data/campus/b1/ahu1/SetPoint?from=2026-01-01&to=2026-01-02").header(header::ACCEPT, "application/json"))
        .await;
    assert_eq!(chart.status, StatusCode::OK);
    assert!(chart.body.contains("No historian is running") && chart.body.contains("\"t\":[]"));
    let backwards = dana.get("/chart-data/x?from=2026-01-02&to=2026-01-01").await;
    assert_eq!(backwards.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn users_without_the_group_see_nothing() {
    let (site, _) = Site::with_dana().await;
    site.services.auth.add_user(&Caller::local("test"), "guest", PASSWORD, vec!["reader".to_owned()]).await.unwrap();
    site.services.auth.add_user(&Caller::local("test"), "user", PASSWORD, vec!["vui".to_owned()]).await.unwrap();
    let mut guest = site.visitor();
    guest.log_in("guest", PASSWORD).await;
    assert_eq!(guest.get("/agents").await.status, StatusCode::FORBIDDEN);
    let mut user = site.visitor();
    user.log_in("user", PASSWORD).await;
    let page = user.get("/agents").await;
    assert!(page.status == StatusCode::OK && !page.body.contains("Install an agent"), "only administrators install");
    let token = user.token("/agents").await;
    assert_eq!(user.post_with(&token, "/agents", &[("kind", "listener")]).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn the_overview_names_what_needs_attention() {
    let (site, mut dana) = Site::with_dana().await;
    site.configure("devices/campus/b2/odd", ConfigType::Json, r#"{"driver_type": "fake", "registry_config": "config://gone.csv"}"#).await;
    let page = dana.get("/").await;
    assert!(page.body.contains("One thing needs attention") && page.body.contains("gone.csv"), "{}", page.body);
}

#[tokio::test]
async fn colours_are_remembered_without_scripts() {
    let (_site, mut dana) = Site::with_dana().await;
    let answer = dana.post("/agents", "/preferences/theme", &[("theme", "dark"), ("next", "/agents")]).await;
    assert_eq!(answer.location(), "/agents");
    assert!(dana.get("/agents").await.body.contains("data-theme=\"dark\""));
    dana.cookies.insert("Theme".to_owned(), "x\"><script>".to_owned());
    assert!(dana.get("/agents").await.body.contains("data-theme=\"auto\""));
}

#[tokio::test]
async fn the_log_is_shown_downloaded_and_streamed() {
    let (site, mut dana) = Site::with_dana().await;
    dana.post("/agents", "/agents", &[("kind", "listener"), ("identity", "ear")]).await;
    let line = |text: &str| vt_services::NewLogLine {
        at: site.services.clock.now(),
        identity: Some("ear".to_owned()),
        level: vt_services::LogLevel::Error,
        logger: "ear".to_owned(),
        text: text.to_owned(),
    };
    site.services.logs.push(line("<script>alert(1)</script> failed"));
    let page = dana.get("/agents/ear").await.body;
    assert!(page.contains("alert(1)") && !page.contains("<script>alert"));
    let download = dana.get("/agents/ear/log.txt").await;
    assert!(download.headers[header::CONTENT_TYPE].to_str().unwrap().starts_with("text/plain"));
    assert!(download.body.contains("ERROR ear: <script>"));
    let events = dana.first_event("/agents/ear/log/stream?after=").await;
    assert!(events.contains("event: line") && events.contains("\"level\":\"ERROR\""), "{events}");

    // The place in the page is behind its lines; a place of an earlier run of the server is before all of this one's.
    let (_, rest) = page.split_once("log/stream?after=").unwrap();
    let place = rest.split('"').next().unwrap().to_owned();
    site.services.logs.push(line("the next line"));
    let next = dana.first_event(&format!("/agents/ear/log/stream?after={place}")).await;
    assert!(next.contains("the next line"), "{next}");
    let restarted = dana.first_event("/agents/ear/log/stream?after=1-4000000000").await;
    assert!(restarted.contains("failed"), "{restarted}");
}

#[tokio::test]
async fn one_box_finds_agents_devices_points_and_entries() {
    let (site, mut dana) = Site::with_dana().await;
    dana.post("/agents", "/agents", &[("kind", "listener"), ("identity", "ear")]).await;
    site.configure("r.csv", ConfigType::Csv, REGISTRY).await;
    site.configure("devices/campus/b1/ahu1", ConfigType::Json, r#"{"driver_type": "fake", "registry_config": "config://r.csv"}"#).await;
    assert!(dana.get("/search?q=EAR").await.body.contains("href=\"/agents/ear\""));
    let found = dana.get("/search?q=ahu1+set").await.body;
    assert!(found.contains("href=\"/devices/campus/b1/ahu1/SetPoint\"") && !found.contains("ZoneTemperature"));
    assert!(dana.get("/search?q=r.csv").await.body.contains("/agents/platform.driver/configs/r.csv"));
    let none = dana.get("/search?q=%3Cimg%20onerror%3Dx%3E").await.body;
    assert!(none.contains("Nothing is called") && !none.contains("<img"));
}

#[tokio::test]
async fn a_waiting_peer_is_approved_denied_and_given_rights_on_its_pages() {
    let (site, mut dana) = Site::with_dana().await;
    assert!(dana.get("/peers").await.body.contains("Nobody waits."));
    assert!(!site.running.knock(7, "192.0.2.7", "forwarder").await);
    let waiting = dana.get("/peers").await.body;
    for shown in ["forwarder", "192.0.2.7", "Approve forwarder from 192.0.2.7", "First seen"] {
        assert!(waiting.contains(shown), "{shown}");
    }
    let user_id = site.services.peer_auth.pending()[0].user_id.clone();
    for (decision, is_admitted, told) in [("approve", true, "is let in"), ("deny", false, "is kept out"), ("approve", true, "is let in")] {
        let fields = [("user_id", user_id.as_str()), ("decision", decision)];
        assert_eq!(dana.post("/peers", "/peers", &fields).await.location(), "/peers", "{decision}");
        assert!(dana.get("/peers").await.body.contains(told), "{decision}");
        assert_eq!(site.running.knock(7, "192.0.2.7", "forwarder").await, is_admitted, "{decision}");
    }
    let path = format!("/peers/{user_id}");
    let wrong = dana.post(&path, &path, &[("capabilities", "{\"a\":"), ("roles", "r, s"), ("enabled", "1")]).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(wrong.body.contains("not JSON") && wrong.body.contains("value=\"r, s\""), "the form keeps what was typed");
    let right = dana.post(&path, &path, &[("capabilities", "[\"can_publish\"]"), ("roles", "r, s"), ("enabled", "1")]).await;
    assert_eq!(right.location(), "/peers");
    let entry = site.services.peer_auth.records().allow.into_iter().find(|entry| entry.user_id == user_id).unwrap();
    assert!(entry.capabilities.get("can_publish").is_some() && entry.roles == ["r", "s"] && entry.enabled);
    dana.post(&path, &path, &[("capabilities", ""), ("roles", ""), ("groups", "")]).await;
    assert!(!site.running.knock(7, "192.0.2.7", "forwarder").await, "without the tick it may not connect");
    assert_eq!(dana.get("/peers/nobody").await.status, StatusCode::NOT_FOUND);
    let unknown = dana.post("/peers", "/peers", &[("user_id", "nobody"), ("decision", "approve")]).await;
    assert_eq!(unknown.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn peers_and_keys_are_for_administrators() {
    let (site, mut dana) = Site::with_dana().await;
    assert!(dana.get("/").await.body.contains("href=\"/peers\""));
    site.services.auth.add_user(&Caller::local("test"), "kim", PASSWORD, vec!["vui".to_owned()]).await.unwrap();
    let mut kim = site.visitor();
    kim.log_in("kim", PASSWORD).await;
    assert!(!kim.get("/").await.body.contains("href=\"/peers\""));
    for path in ["/peers", "/peers/platform"] {
        assert_eq!(kim.get(path).await.status, StatusCode::FORBIDDEN, "{path}");
    }
    let token = kim.token("/agents").await;
    let denied = kim.post_with(&token, "/peers", &[("user_id", "control"), ("decision", "deny")]).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN);
    assert!(site.services.peer_auth.records().deny.is_empty());
}

#[tokio::test]
async fn a_package_is_installed_from_a_wheel_or_by_name_and_followed_on_its_page() {
    let (site, _) = Site::with_dana().await;
    let mut visitor = site.visitor();
    visitor.log_in("dana", PASSWORD).await;
    let file = Some(("listeneragent-3.3-py3-none-any.whl", "content"));
    let begun = visitor.upload("/agents", "/install", &[("identity", "<i>"), ("tag", "")], file).await;
    assert_eq!((begun.status, begun.location()), (StatusCode::SEE_OTHER, "/install/1"));
    let failed = site.services.agents.install_of(1).unwrap().outcome().await;
    assert!(failed.is_err(), "an identity has no such characters");
    let page = visitor.get("/install/1").await;
    assert!(page.body.contains("role=\"alert\"") && page.body.contains("Nothing of it was left behind"), "{}", page.body);
    assert!(!page.body.contains("<i>"));

    let begun = visitor.upload("/agents", "/install", &[("identity", "listener"), ("start", "1"), ("config", "a: 1")], file).await;
    let id: u64 = begun.location().rsplit('/').next().unwrap().parse().unwrap();
    site.services.agents.install_of(id).unwrap().outcome().await.unwrap();
    let page = visitor.get(begun.location()).await;
    assert!(page.body.contains("href=\"/agents/listener\"") && page.body.contains("preparing listeneragent-3.3"), "{}", page.body);
    assert!(site.services.agents.by_identity("listener").unwrap().state.is_running());

    let begun = visitor.upload("/agents", "/install", &[("package", "listeneragent==3.3")], None).await;
    assert_eq!(begun.status, StatusCode::SEE_OTHER);
    let nothing = visitor.upload("/agents", "/install", &[("tag", "kept")], None).await;
    assert_eq!(nothing.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(nothing.body.contains("Choose a wheel") && nothing.body.contains("value=\"kept\""));
    let stranger = Request::post("/install").header(header::CONTENT_TYPE, "multipart/form-data; boundary=limit");
    let stranger = visitor.send_body(stranger.header("sec-fetch-site", "cross-site"), axum::body::Body::from("--limit--")).await;
    assert_eq!(stranger.status, StatusCode::FORBIDDEN);
    assert_eq!(visitor.get("/install/99").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_platform_that_is_away_is_shown_as_it_was_with_the_reason_and_the_age() {
    let (site, mut dana) = Site::with_dana().await;
    let empty = dana.get("/platforms").await;
    assert!(empty.body.contains("linked to no other"));
    assert!(!dana.get("/").await.body.contains("Other platforms"));

    let links = answering_platform("p2", "control");
    links.set(link("<b>gone</b>", false, 0));
    site.services.instances.attach(links.clone());
    until(async || site.services.instances.by_name("p2")?.told).await;
    let overview = dana.get("/").await.body;
    assert!(overview.contains("Other platforms") && overview.contains("1 of 2 agents run."), "{overview}");
    assert!(overview.contains("/platforms/%3Cb%3Egone%3C%2Fb%3E") && !overview.contains("<b>gone"), "{overview}");
    assert!(overview.contains("never told") && overview.contains("onnection refused"), "the link that is down is a reason: {overview}");

    links.set(link("p2", false, 1));
    site.advance(5);
    let page = dana.get("/platforms/p2").await;
    assert_eq!(page.status, StatusCode::OK);
    for text in ["Not linked", "onnection refused", "5 min ago", "listeneragent-", "Running", "Bad", "Failed"] {
        assert!(page.body.contains(text), "{text} is not in {}", page.body);
    }
    let list = dana.get("/platforms").await.body;
    assert!(list.contains("#stale") && list.contains("5 min ago"), "an old answer is marked: {list}");
    assert_eq!(dana.get("/platforms/nobody").await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn setting_up_and_what_is_wrong_with_the_files_is_shown() {
    let (site, mut dana) = Site::with_dana().await;
    let instances = &site.services.instances;
    instances.set_introductions(&["https://a:1".to_owned(), "https://b:2".to_owned(), "https://c:3".to_owned()]);
    instances.note_introduction("https://a:1", Ok("p2".to_owned()));
    instances.note_introduction("https://b:2", Err("it cannot be reached: connection refused".to_owned()));
    instances.set_problems(vec!["the entry \"p3\" has no serverkey".to_owned()]);
    let page = dana.get("/platforms").await.body;
    for text in ["Found", "Not found", "Looking", "connection refused", "has no serverkey"] {
        assert!(page.contains(text), "{text} is not in {page}");
    }
    site.services.auth.add_user(&Caller::local("test"), "kiosk", PASSWORD, vec!["vui".to_owned()]).await.unwrap();
    let mut kiosk = site.visitor();
    kiosk.log_in("kiosk", PASSWORD).await;
    assert_eq!(kiosk.get("/platforms").await.status, StatusCode::OK);
}
