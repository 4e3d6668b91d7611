//! Calls across the process boundary, both ways.

use bytes::Bytes;
use serde_json::json;
use vt_bus::{IncomingCall, Interceptor, PeerRef, Refusal};
use vt_types::{Identity, RpcError, RpcRequest};
use vt_vip::Message;

use crate::bench::{Site, id, parsed, request, text};

#[tokio::test]
async fn a_remote_peer_calls_one_in_this_process() {
    let site = Site::new();
    let (_control, mut inbox) = site.local("control");
    tokio::spawn(async move {
        while let Some(IncomingCall { from, user_id, request, reply, .. }) = inbox.calls().recv().await {
            let result = match request.method.as_str() {
                "fail" => Err(RpcError::key_error("No configuration file")),
                _ => Ok(json!([from, &*user_id, request.params.args, "é"])),
            };
            if let Some(reply) = reply {
                reply.send(result);
            }
        }
    });
    let mut alice = site.peer("alice").await;
    assert_eq!(alice.call("control", &request("m", &json!([1]))).await, Ok(json!(["alice", "alice", [1], "é"])));
    assert_eq!(alice.call("platform.control", &request("m", &json!([]))).await.unwrap()[0], json!("alice"), "under its other name too");
    let Err(RpcError::Remote(raised)) = alice.call("control", &request("fail", &json!([]))).await else { panic!() };
    assert_eq!((raised.exc_type.as_str(), raised.message.as_str()), ("builtins.KeyError", "No configuration file"));
}

#[tokio::test]
async fn documents_of_one_message_are_answered_in_one_and_notifications_never() {
    let site = Site::new();
    let (_control, mut inbox) = site.local("control");
    tokio::spawn(async move {
        while let Some(call) = inbox.calls().recv().await {
            if let Some(reply) = call.reply {
                reply.send(Ok(json!(call.request.method)));
            }
        }
    });
    let mut alice = site.peer("alice").await;
    let args: Vec<Bytes> = [
        r#"{"jsonrpc": "2.0", "method": "a", "id": "1"}"#,
        r#"{"jsonrpc": "2.0", "method": "silent"}"#,
        r#"[{"jsonrpc": "2.0", "method": "b", "id": 2}, {"jsonrpc": "2.0", "method": "silent"}]"#,
        r#"{"method": "c", "id": "3"}"#,
    ]
    .map(Bytes::from)
    .to_vec();
    alice.send(Message::new("control", "m", b"RPC", args)).await;
    let answer = alice.message().await;
    assert_eq!(answer.args.len(), 3, "{:?}", text(&answer.args));
    assert_eq!(parsed(&answer.args[0]), json!({"jsonrpc": "2.0", "id": "1", "result": "a"}));
    assert_eq!(parsed(&answer.args[1]), json!([{"jsonrpc": "2.0", "id": 2, "result": "b"}]));
    assert_eq!(parsed(&answer.args[2])["error"]["code"], json!(-32600));
}

#[tokio::test]
async fn a_peer_in_this_process_calls_a_remote_one() {
    let site = Site::new();
    let (store, _inbox) = site.local("config.store");
    let mut alice = site.peer("alice").await;
    let pending = store.call(&id("alice"), request("config.update", &json!(["NEW"]))).unwrap();
    let call = alice.serve(|request| Ok(json!(request.params.args))).await;
    assert_eq!((call.peer, call.user), (Bytes::from("config.store"), Bytes::from("config.store")), "the user id that rights hang on");
    assert!(serde_json::from_slice::<f64>(&call.id).is_err(), "no client takes the id for a number");
    assert_eq!(pending.await, Ok(json!(["NEW"])));

    let pending = store.call(&id("alice"), request("x", &json!([]))).unwrap();
    alice.serve(|request| Err(RpcError::MethodNotFound(request.method.clone()))).await;
    assert!(matches!(pending.await, Err(RpcError::MethodNotFound(_))));

    let pending = store.call(&id("alice"), request("never", &json!([]))).unwrap();
    drop(alice);
    assert_eq!(pending.await, Err(RpcError::PeerGone(id("alice"))));
}

#[tokio::test]
async fn nobody_answers_for_another() {
    let site = Site::new();
    let (store, _inbox) = site.local("config.store");
    let (_other, _other_inbox) = site.local("control");
    let mut alice = site.peer("alice").await;
    let mallory = site.peer("mallory").await;
    let mut pending = store.call(&id("alice"), request("m", &json!([]))).unwrap();
    let call = alice.message().await;
    let forged = vec![Bytes::from(r#"{"jsonrpc": "2.0", "id": "srv.1", "result": "forged"}"#)];
    mallory.send(Message::new("config.store", call.id.clone(), b"RPC", forged.clone())).await;
    alice.send(Message::new("control", call.id.clone(), b"RPC", forged)).await;
    assert_eq!(text(&alice.ask(b"ping", vec![]).await.args), ["pong"]);
    assert!(futures_util::FutureExt::now_or_never(&mut pending).is_none(), "neither another peer nor to another caller");
}

struct OnlyBob;

impl Interceptor for OnlyBob {
    fn guards(&self, callee: &Identity) -> bool {
        callee.as_str() == "guarded"
    }

    fn on_call(&self, peer: PeerRef<'_>, callee: &Identity, request: &RpcRequest) -> Result<(), Refusal> {
        let is_open = callee.as_str() != "guarded" || request.method != "secret" || peer.user_id == "bob";
        if is_open { Ok(()) } else { Err(Refusal("method requires capabilities".into())) }
    }
}

#[tokio::test]
async fn a_guarded_method_of_a_remote_peer_is_refused_before_it_gets_there() {
    let site = Site::new();
    site.bus.set_interceptors(vec![std::sync::Arc::new(OnlyBob)]);
    let mut guarded = site.peer("guarded").await;
    let (mut alice, mut bob) = (site.peer("alice").await, site.peer("bob").await);
    let refused = alice.call("guarded", &request("secret", &json!([]))).await;
    assert_eq!(refused, Err(RpcError::Refused("method requires capabilities".into())));
    let asking = tokio::spawn(async move { bob.call("guarded", &request("secret", &json!([]))).await });
    let call = guarded.serve(|request| Ok(json!(request.method))).await;
    assert_eq!(call.peer, "bob", "the refused call never arrived");
    assert_eq!(asking.await.unwrap(), Ok(json!("secret")));
}
