//! Historians over REST, with an agent in their place.

use serde_json::{Value, json};
use vt_services::bench::{AgentContext, MethodTable};

use super::{Api, P};

fn topics(rest: &str) -> String {
    format!("{P}/historians/platform.historian/topics{rest}")
}

/// Keeps `a/b/T` and `a/b/U`; answers a query with what it was asked.
fn historian(api: &Api) -> AgentContext {
    let mut methods = MethodTable::new();
    methods.method("get_topic_list").to(|_| async { Ok(json!(["a/b/T", "a/b/U", "a/c/T"])) });
    methods.method("query").keywords("asked").to(|call| async move {
        let asked = call.value("asked");
        let rows = json!([["2025-11-23T10:00:00.000000+00:00", asked["order"]], ["2025-11-23T09:59:00.000000+00:00", asked["count"]]]);
        Ok(match &asked["topic"] {
            Value::Array(topics) => {
                let values: serde_json::Map<_, _> = topics.iter().map(|topic| (topic.as_str().unwrap().to_owned(), rows.clone())).collect();
                json!({"values": values, "metadata": {}})
            }
            _ => json!({"values": rows, "metadata": {"units": "F"}}),
        })
    });
    methods
        .method("query_downsampled")
        .param("topic")
        .param("start")
        .param("end")
        .param("max_points")
        .to(|_| async { Ok(json!({"times_ms": [0, 60000], "min": [1, 2], "max": [3, 4], "mean": [2, null], "metadata": {"units": "F"}})) });
    api.running.agent("platform.historian", methods).0
}

#[tokio::test]
async fn running_historians_are_listed_and_lead_to_topics() {
    let api = Api::start().await;
    assert!(api.get(&format!("{P}/historians")).await.expect(200).links().is_empty());
    let _historian = historian(&api);
    let _other = api.running.agent("listener", MethodTable::new());
    assert_eq!(api.get(&format!("{P}/historians")).await.expect(200).links(), ["platform.historian"]);
    let next = api.get(&format!("{P}/historians/platform.historian")).await.expect(200).json();
    assert_eq!(next["links"], json!({"topics": topics("")}));
    assert_eq!(api.get(&topics("")).await.expect(200).links(), ["a"]);
    assert_eq!(api.get(&topics("/a/b")).await.expect(200).links(), ["T", "U"]);
}

#[tokio::test]
async fn one_topic_and_many_have_the_same_shape() {
    let api = Api::start().await;
    let _historian = historian(&api);
    let one = api.get(&topics("/a/b/T?count=2&order=LAST_TO_FIRST")).await.expect(200).json();
    assert_eq!(
        one["a/b/T"],
        json!({"value": [["2025-11-23T10:00:00.000000+00:00", "LAST_TO_FIRST"], ["2025-11-23T09:59:00.000000+00:00", 2]],
               "metadata": {"units": "F"}, "route": topics("/a/b/T")})
    );
    api.get(&topics("/a/b/T")).await.expect(200);
    let many = api.get(&topics("/a/-/T")).await.expect(200).json();
    assert_eq!(many.as_object().unwrap().keys().collect::<Vec<_>>(), ["a/b/T", "a/c/T"]);
    assert!(many["a/c/T"]["value"].is_array() && many["a/c/T"]["metadata"].is_null());
    let all = api.get(&topics("?read-all=true&regex=U$&values=false&routes=0")).await.expect(200).json();
    assert_eq!(all, json!({"a/b/U": {}}));
}

#[tokio::test]
async fn wrong_questions_are_400() {
    let api = Api::start().await;
    let _historian = historian(&api);
    for rest in [
        "/a/b/T?skip=x",
        "/a/b/T?count=-1",
        "/a/b/T?order=UP",
        "/a/b/T?start=yesterday",
        "/a/b/T?agg-type=avg",
        "/a/b/T?max-points=0",
        "/nope",
    ] {
        api.get(&topics(rest)).await.expect(400).error();
    }
    assert_eq!(api.get(&topics("/a/x")).await.expect(400).error(), "Historian topic a/x not found on platform: harbor1.");
    api.get(&format!("{P}/historians/no.historian/topics")).await.expect(400).error();
    assert!(api.get(&topics("?tag=x")).await.expect(400).error().contains("tagging"));
}

#[tokio::test]
async fn charts_have_means_and_bands() {
    let api = Api::start().await;
    let _historian = historian(&api);
    let chart = api.get(&topics("/a/b/T?max-points=100&start=2025-01-01&end=2025-02-01")).await.expect(200).json();
    assert_eq!(
        chart["a/b/T"],
        json!({"value": [["1970-01-01T00:00:00.000000+00:00", 2.0], ["1970-01-01T00:01:00.000000+00:00", null]], "min": [1.0, 2.0],
               "max": [3.0, 4.0], "metadata": {"units": "F"}, "route": topics("/a/b/T")})
    );
    api.get(&topics("/a/b/T?max-points=100&start=2025-02-01&end=2025-01-01")).await.expect(400);
}

#[tokio::test(start_paused = true)]
async fn a_historian_that_never_answers_is_504() {
    let api = Api::start().await;
    let mut methods = MethodTable::new();
    methods.method("get_topic_list").to(|_| std::future::pending());
    let _historian = api.running.agent("platform.historian", methods);
    api.get(&topics("")).await.expect(504).error();
}
